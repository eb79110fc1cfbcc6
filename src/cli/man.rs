//! The man page: one page for all commands.

use std::io;

use clap::Command;
use clap_mangen::Man;

/// The page of `command` and all commands below it, in roff.
pub fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let commands: Vec<_> = command.get_subcommands().cloned().collect();
    let name = command.get_name().to_owned();
    let man = Man::new(command);
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    for command in commands {
        section(&name, command, &mut out)?;
    }
    man.render_extra_section(&mut out)?;
    man.render_version_section(&mut out)?;
    Ok(ascii(&String::from_utf8_lossy(&out)))
}

/// The same with roff's escapes for all that is not ASCII: not every formatter reads UTF-8.
fn ascii(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => out.push(byte),
            _ => out.extend_from_slice(format!("\\[u{:04X}]", u32::from(character)).as_bytes()),
        }
    }
    out
}

/// A section about a command below the command `parent`, then those below it.
fn section(parent: &str, command: Command, out: &mut Vec<u8>) -> io::Result<()> {
    let commands: Vec<_> = command.get_subcommands().cloned().collect();
    let name = format!("{parent} {}", command.get_name());
    out.extend_from_slice(format!(".SH {}\n", quoted(&name.to_uppercase())).as_bytes());
    let mut parts = Vec::new();
    let man = Man::new(command.bin_name(&name));
    man.render_synopsis_section(&mut parts)?;
    man.render_description_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    let text = String::from_utf8_lossy(&parts);
    for line in text.lines() {
        // Each part begins like a page of its own.
        let begins_page = line.starts_with(".ie ") || line.starts_with(".el ");
        if !begins_page {
            let line = line.replacen(".SH ", ".SS ", 1);
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
    }
    for command in commands {
        section(&name, command, out)?;
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
