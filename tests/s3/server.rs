//! A real object store on loopback: moto, which keeps to Glacier's rules.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::shell::have;

/// A server; it ends with whoever holds it, or with the tests.
pub struct Server {
    pub port: u16,
    child: Child,
    _stdin: ChildStdin,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer to a plain request.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The texts of all elements of this name.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let parts = text.split(&*start).skip(1);
        parts
            .filter_map(|part| part.split(&*end).next())
            .map(str::to_owned)
            .collect()
    }
}

/// The folder of tools for these tests, if they are installed.
pub fn tools() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/s3/bin");
    have(dir.join("s3cmd").to_str().unwrap()).then_some(dir)
}

impl Server {
    /// Starts a server; `None`, said aloud, where it is not installed.
    pub fn start() -> Option<Self> {
        let tools = tools()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/server.py");
        let mut child = Command::new(tools.join("python"))
            .arg(script)
            .env_remove("PYTHONPATH")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        Some(Self {
            port: line.trim().parse().expect("the port of the server"),
            child,
            _stdin: stdin,
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a plain request; this server looks at no signature.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let host = format!("127.0.0.1:{}", self.port);
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// Makes a bucket of a name that no other test has.
    pub fn bucket(&self) -> Bucket<'_> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-bucket-{number}");
        let answer = self.request("PUT", &format!("/{name}"), "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Bucket { server: self, name }
    }

    /// Thaws take `looks` looks from now on.
    pub fn thaws_after(&self, looks: u32) {
        let body = format!(
            r#"{{"model_name": "s3::keyrestore", "transition": {{"progression": "manual", "times": {looks}}}}}"#
        );
        let answer = self.request("POST", "/moto-api/state-manager/set-transition", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

/// A bucket of a server.
pub struct Bucket<'a> {
    pub server: &'a Server,
    pub name: String,
}

impl Bucket<'_> {
    /// The URL of a store in it.
    pub fn url(&self) -> String {
        format!("s3://{}/hosts/all", self.name)
    }

    fn path(&self, file: &str) -> String {
        format!("/{}/hosts/all/{file}", self.name)
    }

    /// The paths of all objects of the store, sorted.
    pub fn objects(&self) -> Vec<String> {
        let query = format!("/{}?list-type=2&prefix=hosts/all/", self.name);
        let keys = self.server.request("GET", &query, "").elements("Key");
        keys.iter()
            .map(|key| key.strip_prefix("hosts/all/").unwrap().to_owned())
            .collect()
    }

    /// The paths of the objects in a folder.
    pub fn objects_in(&self, folder: &str) -> Vec<String> {
        let mut objects = self.objects();
        objects.retain(|path| path.starts_with(folder));
        objects
    }

    pub fn get(&self, file: &str) -> Vec<u8> {
        let answer = self.server.request("GET", &self.path(file), "");
        assert_eq!(answer.status, 200, "{file}: {}", answer.text());
        answer.body
    }

    pub fn put(&self, file: &str, text: &str) {
        let answer = self.server.request("PUT", &self.path(file), text);
        assert_eq!(answer.status, 200, "{file}: {}", answer.text());
    }

    pub fn delete(&self, file: &str) {
        let answer = self.server.request("DELETE", &self.path(file), "");
        assert_eq!(answer.status, 204, "{file}: {}", answer.text());
    }

    /// The storage class of an object.
    pub fn class(&self, file: &str) -> String {
        let answer = self.server.request("HEAD", &self.path(file), "");
        let line = answer.head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("x-amz-storage-class: ")
                .map(str::to_owned)
        });
        line.unwrap_or_else(|| "standard".into())
    }

    /// The parts of uploads that were begun and not ended.
    pub fn open_uploads(&self) -> usize {
        let answer = self
            .server
            .request("GET", &format!("/{}?uploads", self.name), "");
        answer.elements("UploadId").len()
    }
}
