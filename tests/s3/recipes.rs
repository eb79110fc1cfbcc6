//! What the README says about object stores, executed as written.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::sandbox::Sandbox;
use crate::server::{Server, tools};

/// The lines of a section that are commands: those in a block of `sh`, and indented ones.
fn recipes(section: &str) -> (Vec<String>, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(path).unwrap();
    let text = readme.split("\n## ").find(|part| part.starts_with(section));
    let (mut indented, mut block, mut in_block) = (Vec::new(), Vec::new(), false);
    for line in text.expect(section).lines() {
        if line.starts_with("```") {
            in_block = line == "```sh";
        } else if in_block {
            block.push(line.split("  #").next().unwrap().to_owned());
        } else if let Some(command) = line.strip_prefix("    ") {
            indented.push(command.to_owned());
        }
    }
    (block, indented)
}

/// A folder in which these commands can be run: a store called `STORE`, an archived tree,
/// and a bucket called `bucket`.
struct Place {
    sandbox: Sandbox,
    server: Server,
    path: String,
}

impl Place {
    fn new() -> Option<Self> {
        let tools = tools()?;
        let server = Server::start()?;
        assert_eq!(server.request("PUT", "/bucket", "").status, 200);
        let sandbox = Sandbox::new();
        let config = format!(
            "[default]\naccess_key = test\nsecret_key = test\nhost_base = 127.0.0.1:{0}\n\
             host_bucket = 127.0.0.1:{0}\nuse_https = False\n",
            server.port
        );
        fs::write(sandbox.path().join("home/.s3cfg"), config).unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_dtar")).parent().unwrap();
        let path = format!(
            "{}:{}:{}",
            binary.display(),
            tools.display(),
            std::env::var("PATH").unwrap()
        );
        let place = Self {
            sandbox,
            server,
            path,
        };
        place.must(
            "mkdir -p tree/etc tree/srv out && cp -r /etc/*.conf tree/etc/ && \
             head -c 20000000 /dev/urandom > tree/srv/noise && \
             tar c -C tree etc srv | dtar --brick-size 10M > index.tar",
        );
        Some(place)
    }

    fn run(&self, script: &str) -> Output {
        let sandbox = &self.sandbox;
        Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", script])
            .current_dir(sandbox.path())
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", sandbox.path().join("home"))
            .env("DTAR_STORE", sandbox.path().join("STORE"))
            .env("DTAR_KEY", sandbox.key())
            .env("DTAR_CATALOG", sandbox.catalog())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL", self.server.url())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn must(&self, script: &str) -> String {
        let output = self.run(script);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{script}: {}: {stderr}",
            output.status
        );
        stderr
    }
}

#[test]
fn s3cmd_and_dtar_store_and_restore_as_the_readme_says() {
    let Some(place) = Place::new() else { return };
    let (_, commands) = recipes("To an object store");
    assert_eq!(commands.len(), 3, "{commands:?}");
    let mut commands = commands.iter();
    place.must(commands.next().unwrap());
    // What s3cmd has put there is what dtar would have: nothing is left to send.
    let pushed = place.must("dtar push s3://bucket/prefix");
    assert!(pushed.contains("sent 0 files"), "{pushed}");
    place.must("rm -r STORE/bricks");
    for command in commands {
        let command = command.replace("tar x", "tar x -C out");
        place.must(&command);
    }
    place.must("diff -r tree out");
    println!("3 commands of the README with s3cmd");
}

#[test]
fn the_commands_of_the_readme_for_a_cold_bucket_do_what_it_says() {
    let Some(place) = Place::new() else { return };
    let (commands, _) = recipes("To an object store");
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in &commands {
        let command = command.replace("tar x", "tar x -C out");
        place.must(&command);
    }
    place.must("test ! -e out/srv && diff -r tree/etc out/etc");
    place.must("test -z \"$(find STORE/bricks -type f)\"");
    println!("{} commands of the README with dtar", commands.len());
}

#[test]
fn a_plan_tells_s3cmd_what_to_bring_up() {
    let Some(place) = Place::new() else { return };
    place.must("dtar push s3://bucket/prefix --storage-class DEEP_ARCHIVE --delete-local");
    let (_, commands) = recipes("Before you read");
    let xargs = commands.iter().filter(|command| command.contains("xargs"));
    let xargs: Vec<_> = xargs.collect();
    assert_eq!(xargs.len(), 1, "{commands:?}");
    let dry_run = "dtar thaw --dry-run @latest etc/ --from s3://bucket/prefix";
    assert!(place.must(dry_run).contains("can be read: 0,"));
    place.must(xargs[0]);
    let thawed = place.must(dry_run);
    assert!(!thawed.contains("can be read: 0,"), "{thawed}");
    place
        .must("mkdir only && dtar --store s3://bucket/prefix restore @latest etc/ | tar x -C only");
    place.must("diff -r tree/etc only/etc");
}
