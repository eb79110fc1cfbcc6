//! Messages on standard error, for people or as JSON lines.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use super::args::GlobalArgs;
use dtar::error::Error;
use dtar::verify::Fault;

/// How to speak.
#[derive(Debug, Clone, Copy)]
pub struct Say {
    quiet: bool,
    json: bool,
}

impl Say {
    pub fn new(global: &GlobalArgs) -> Self {
        Self {
            quiet: global.quiet,
            json: global.json,
        }
    }

    /// Whether JSON lines are wanted.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Whether a progress bar would be seen.
    pub fn shows_progress(self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// Whether JSON lines about progress are wanted.
    pub const fn tells_progress(self) -> bool {
        self.json && !self.quiet
    }

    /// Something good to know.
    pub fn note(self, text: &str) {
        if !self.quiet {
            self.line("note", text, &format!("dtar: {text}"));
        }
    }

    /// Something that may be wrong.
    pub fn warn(self, text: &str) {
        if !self.quiet {
            self.line("warning", text, &format!("dtar: warning: {text}"));
        }
    }

    /// What made the run fail, or damaged its output: said even if quiet.
    pub fn error_text(self, text: &str) {
        self.line("error", text, &format!("dtar: {text}"));
    }

    /// What made the run fail.
    pub fn error(self, error: &Error) {
        self.error_text(&error.to_string());
    }

    /// Something that is damaged or missing: said even if quiet.
    pub fn fault(self, fault: &Fault) {
        let path = fault.path.display().to_string();
        if self.json {
            self.event(&json!({
                "type": "fault",
                "kind": fault.kind.name(),
                "path": path,
                "offset": fault.offset,
                "brick": fault.brick.map(|name| name.to_string()),
                "frame": fault.frame,
                "message": fault.message,
            }));
        } else {
            self.error_text(&format!("{path}: {}", fault.message));
        }
    }

    /// The closing summary.
    pub fn summary(self, text: &str, value: &Value) {
        if self.json {
            write_line(&value.to_string());
        } else if !self.quiet {
            write_line(&format!("dtar: {text}"));
        }
    }

    /// A JSON line, if these are wanted.
    pub fn event(self, value: &Value) {
        if self.json {
            write_line(&value.to_string());
        }
    }

    fn line(self, kind: &str, text: &str, plain: &str) {
        if self.json {
            write_line(&json!({ "type": kind, "message": text }).to_string());
        } else {
            write_line(plain);
        }
    }
}

/// Standard error is the last resort: if it is gone, nobody is left to tell.
fn write_line(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
