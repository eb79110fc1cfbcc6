//! A store in containers, and a library of simulated tapes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use dtar::id::{ContainerSetId, StoreId};
use dtar::tape::{Catalog, Container, Member, Sha256Sum, Whole};

use crate::common::sandbox::{Run, Sandbox};

pub const SET: ContainerSetId = ContainerSetId([0x5f; 16]);
/// The blocks of all tapes of these tests.
pub const BLOCK: &str = "64K";

/// A sandbox with containers in `containers` and tapes in `library`.
pub struct Scene {
    pub sandbox: Sandbox,
}

impl Scene {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path().join("library")).unwrap();
        fs::create_dir(sandbox.path().join("containers")).unwrap();
        Self { sandbox }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path().join(name)
    }

    /// Puts a blank tape on the shelf, or gives one other faults.
    pub fn tape(&self, name: &str, settings: &str) {
        let dir = self.path("library").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("tape.toml"), settings).unwrap();
    }

    pub fn load(&self, name: &str) {
        fs::write(self.path("library/loaded"), name).unwrap();
    }

    /// Runs `dtar tape` on the library, with these tapes put in one after the other.
    pub fn run<I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
        tapes: &[&str],
    ) -> Run {
        fs::write(self.path("queue"), tapes.join("\n") + "\n").unwrap();
        // Takes the first line off the queue; 1 if there is none.
        let change = "test -n \"$(head -n 1 queue)\" || exit 1; \
                      head -n 1 queue > library/loaded; sed -i 1d queue";
        let output = self
            .sandbox
            .command(["tape"])
            .args(arguments)
            .env("DTAR_TAPE_DRIVE", "sim:library")
            .env("DTAR_TAPE_CHANGE", change)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked at"), "{stderr}");
        Run {
            code: output.status.code(),
            stdout: output.stdout,
            stderr,
        }
    }

    /// Writes what is in `containers`, on these tapes.
    pub fn write(&self, more: &[&str], tapes: &[&str]) -> Run {
        let fixed = ["write", "--from", "containers", "--block", BLOCK];
        let fixed = fixed.into_iter().chain(["--reserve", "64K"]);
        self.run(fixed.chain(more.iter().copied()), tapes)
    }

    /// Puts the store into containers of at most about `bound` bytes, numbered from 1.
    pub fn pack(&self, bound: u64) -> u32 {
        pack(&self.sandbox.store(), &self.path("containers"), bound)
    }
}

/// All files of a store, bricks first and roots last.
fn files_of(store: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["bricks", "meta", "tocs", "snapshots", "roots"] {
        let mut found = Vec::new();
        collect(&store.join(folder), folder, &mut found);
        found.sort();
        files.append(&mut found);
    }
    files
}

fn collect(dir: &Path, name: &str, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &name, files);
        } else {
            files.push(name);
        }
    }
}

fn put(tar: &mut Vec<u8>, name: &str, body: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(body.len() as u64);
    header.set_mtime(7);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(body);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Another writer of containers than dtar's, for tests of tapes alone.
#[expect(clippy::too_many_lines, reason = "one container after the other")]
fn pack(store: &Path, to: &Path, bound: u64) -> u32 {
    let config = fs::read(store.join("store.toml")).unwrap();
    let id = String::from_utf8_lossy(&config)
        .lines()
        .find_map(|line| {
            let value = line
                .strip_prefix("id = ")
                .or_else(|| line.strip_prefix("store-id = "));
            value?.trim_matches('"').parse::<StoreId>().ok()
        })
        .unwrap_or(StoreId([0xa5; 16]));
    let mut catalog = Catalog::new(SET, id);
    let files = files_of(store);
    let mut rest = files.iter().peekable();
    let mut number = 0;
    while rest.peek().is_some() {
        number += 1;
        let label = format!(
            "dtar container 1\nset {SET}\nnumber {number}\nstore {id}\nbound {bound}\ntime 7\n\n"
        );
        let mut tar = Vec::new();
        put(&mut tar, "dtar-container.txt", label.as_bytes());
        put(&mut tar, "store.toml", &config);
        let mut members = Vec::new();
        while let Some(name) = rest.peek() {
            let body = fs::read(store.join(name)).unwrap();
            if !members.is_empty() && (tar.len() + body.len()) as u64 > bound {
                break;
            }
            members.push(Member {
                offset: tar.len() as u64 + 512,
                length: body.len() as u64,
                name: name.parse().unwrap(),
            });
            put(&mut tar, name, &body);
            rest.next();
        }
        let container = Container {
            whole: None,
            members: Some(members),
        };
        catalog.containers.insert(number, container);
        let mut text = Vec::new();
        catalog.encode(tar.len() as u64, &mut text);
        put(&mut tar, "dtar-catalog.txt", &text);
        tar.resize((tar.len() + 1024).next_multiple_of(10_240), 0);
        fs::write(to.join(format!("5f5f5f5f-{number:06}.tar")), &tar).unwrap();
        let whole = Whole {
            length: tar.len() as u64,
            sha256: Sha256Sum::of(&tar),
        };
        catalog.containers.get_mut(&number).unwrap().whole = Some(whole);
    }
    number
}
