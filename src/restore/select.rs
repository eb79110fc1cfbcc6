//! Which members to restore: patterns over names.

use globset::{GlobBuilder, GlobMatcher};

use crate::error::{Error, Result};

/// Patterns, and which of them have matched.
pub struct Selection {
    patterns: Vec<Pattern>,
}

struct Pattern {
    text: String,
    matcher: Matcher,
    matched: bool,
}

enum Matcher {
    /// A name without wildcards.
    Name(Vec<u8>),
    Glob(GlobMatcher),
}

impl Selection {
    /// A selection by `patterns`; none at all select everything.
    ///
    /// # Errors
    /// A pattern that cannot be.
    pub fn new(patterns: &[String]) -> Result<Option<Self>> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let patterns = patterns
            .iter()
            .map(|text| Pattern::new(text))
            .collect::<Result<_>>()?;
        Ok(Some(Self { patterns }))
    }

    /// Whether a member with this name is wanted.
    pub fn wants(&mut self, name: &[u8]) -> bool {
        let name = normal(name);
        let mut wanted = false;
        for pattern in &mut self.patterns {
            if pattern.matches(name) {
                pattern.matched = true;
                wanted = true;
            }
        }
        wanted
    }

    /// Whether a member with this name would be wanted.
    #[must_use]
    pub fn would_want(&self, name: &[u8]) -> bool {
        let name = normal(name);
        self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    /// The patterns that no member has matched.
    pub fn unmatched(&self) -> impl Iterator<Item = &str> {
        self.patterns
            .iter()
            .filter(|pattern| !pattern.matched)
            .map(|pattern| &*pattern.text)
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self> {
        let name = normal(text.as_bytes());
        let has_wildcards = text.contains(['*', '?', '[']);
        let matcher = if has_wildcards {
            let glob = GlobBuilder::new(&String::from_utf8_lossy(name))
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| Error::Usage(format!("pattern {text:?}: {error}")))?;
            Matcher::Glob(glob.compile_matcher())
        } else {
            Matcher::Name(name.to_vec())
        };
        Ok(Self {
            text: text.to_owned(),
            matcher,
            matched: false,
        })
    }

    /// Whether the pattern matches the name, or a folder above it.
    fn matches(&self, name: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Name(wanted) => {
                wanted.is_empty()
                    || name
                        .strip_prefix(&wanted[..])
                        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
            Matcher::Glob(glob) => prefixes(name).any(|prefix| glob.is_match(path(prefix))),
        }
    }
}

fn path(bytes: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// The name and all folders above it.
fn prefixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = (1..name.len()).filter(|&end| name[end] == b'/');
    ends.chain([name.len()]).map(|end| &name[..end])
}

/// A name without what does not matter: `./` in front, `/` behind.
pub(crate) fn normal(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
    }
    while let Some(rest) = name.strip_suffix(b"/") {
        name = rest;
    }
    if name == b"." { b"" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(pattern: &str, name: &str) -> bool {
        let mut selection = Selection::new(&[pattern.to_owned()]).unwrap().unwrap();
        selection.wants(name.as_bytes())
    }

    #[test]
    fn a_folder_stands_for_all_in_it() {
        for (pattern, name, wanted) in [
            ("etc", "etc", true),
            ("etc/", "./etc/", true),
            ("etc", "etc/passwd", true),
            ("./etc/", "etc/ssh/config", true),
            ("etc", "etcetera", false),
            ("etc", "usr/etc", false),
            (".", "./anything", true),
            ("etc/passwd", "etc", false),
            ("/etc", "/etc/passwd", true),
        ] {
            assert_eq!(wants(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn wildcards_match_within_a_name() {
        for (pattern, name, wanted) in [
            ("home/*/.ssh", "./home/me/.ssh/", true),
            ("home/*/.ssh", "home/me/.ssh/id", true),
            ("home/*/.ssh", "home/me/deep/.ssh", false),
            ("home/**/.ssh", "home/me/deep/.ssh", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "dir/a.txt", false),
            ("**/*.txt", "dir/a.txt", true),
            ("a?c", "abc", true),
            ("[ab]", "a/file", true),
        ] {
            assert_eq!(wants(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_without_a_match_are_known() {
        let mut selection = Selection::new(&["a".into(), "b*".into()]).unwrap().unwrap();
        assert!(selection.wants(b"a/x"));
        assert_eq!(selection.unmatched().collect::<Vec<_>>(), ["b*"]);
        assert!(Selection::new(&["[".into()]).is_err());
    }
}
