//! Vector files: lines of `key: value`, in hex where a value is bytes.

use std::fmt::{Display, Write as _};

/// One vector: its lines in order. A key may stand more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vector(Vec<(String, String)>);

impl Vector {
    /// A vector with a comment and what a reader must make of it.
    pub fn new(comment: &str, expect: &str) -> Self {
        Self::default()
            .with("comment", comment)
            .with("expect", expect)
    }

    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.0.push((key.into(), format!("{value}")));
        self
    }

    pub fn with_hex(self, key: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.with(key, hex(bytes.as_ref()))
    }

    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (key, value) = line.split_once(':').expect("every line is `key: value`");
            (key.to_owned(), value.trim_start_matches(' ').to_owned())
        };
        Self(text.lines().map(line).collect())
    }

    pub fn to_text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (key, value)| {
            writeln!(text, "{}", format!("{key}: {value}").trim_end()).unwrap();
            text
        })
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == key)
            .map(|(_, value)| value.as_str())
    }

    pub fn find<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).next()
    }

    pub fn text<'a>(&'a self, key: &'a str) -> &'a str {
        self.find(key)
            .unwrap_or_else(|| panic!("the vector has no {key}"))
    }

    pub fn bytes(&self, key: &str) -> Vec<u8> {
        unhex(self.text(key))
    }

    pub fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        self.bytes(key).try_into().expect("a value of this length")
    }

    pub fn number(&self, key: &str) -> u64 {
        self.text(key).parse().expect("a number")
    }

    pub fn list(&self, key: &str) -> Vec<Vec<u8>> {
        self.all(key).map(unhex).collect()
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "an even number of hex digits");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits"))
        .collect()
}
