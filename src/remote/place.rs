//! Where in an object store a store lies: `s3://bucket/prefix`.

use std::fmt;
use std::str::FromStr;

/// How such a place begins.
const SCHEME: &str = "s3://";

/// A bucket and a prefix in it. Objects are named as the files of a store, below the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    bucket: String,
    /// Without slashes at the ends; may be empty.
    prefix: String,
}

/// A text is not the name of a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected s3://BUCKET/PREFIX or s3://BUCKET, found {0:?}")]
pub struct ParsePlaceError(String);

impl Place {
    /// Whether a text is meant to name a place in an object store.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key of the object that stands for the file `path` of a store.
    #[must_use]
    pub fn key(&self, path: &str) -> String {
        if self.prefix.is_empty() {
            return path.to_owned();
        }
        format!("{}/{path}", self.prefix)
    }

    /// The file of a store for which the object `key` stands.
    #[must_use]
    pub fn path_of<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() {
            return Some(key);
        }
        key.strip_prefix(&self.prefix)?.strip_prefix('/')
    }

    /// What to call the file `path` of a store there, for people.
    #[must_use]
    pub fn show(&self, path: &str) -> String {
        format!("{SCHEME}{}/{}", self.bucket, self.key(path))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SCHEME}{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(out, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, ParsePlaceError> {
        let error = || ParsePlaceError(text.to_owned());
        let rest = text.strip_prefix(SCHEME).ok_or_else(error)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        // A key with an empty part would be another one to some servers and tools.
        if bucket.is_empty() || prefix.contains("//") {
            return Err(error());
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_paths_of_a_store_below_the_prefix() {
        for (text, shown, key) in [
            ("s3://b", "s3://b", "store.toml"),
            ("s3://b/", "s3://b", "store.toml"),
            ("s3://b/p", "s3://b/p", "p/store.toml"),
            ("s3://b/p/q//", "s3://b/p/q", "p/q/store.toml"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), shown);
            assert_eq!(place.key("store.toml"), key);
            assert_eq!(place.path_of(key), Some("store.toml"));
            assert_eq!(place.show("x"), format!("{shown}/x"));
        }
        let place: Place = "s3://b/p".parse().unwrap();
        assert_eq!(place.path_of("pq/x"), None);
        assert_eq!(place.path_of("q/x"), None);
    }

    #[test]
    fn what_names_no_bucket_is_refused() {
        for text in ["", "b/p", "s3:/b", "s3://", "s3:///p", "s3://b/p//q"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
