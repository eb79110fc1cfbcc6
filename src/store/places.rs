//! Where key, store and catalog stand if nobody says otherwise: the folders
//! of the XDG base directory specification.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The store: `$XDG_DATA_HOME/dtar/store`, else `~/.local/share/dtar/store`.
///
/// # Errors
/// [`Error::Usage`] if the environment names no home.
pub fn default_store() -> Result<PathBuf> {
    let data = folder(
        |name| env::var_os(name),
        "XDG_DATA_HOME",
        ".local/share",
        "--store DIR",
    )?;
    Ok(data.join("store"))
}

/// The key file: `$XDG_CONFIG_HOME/dtar/key`, else `~/.config/dtar/key`.
///
/// # Errors
/// [`Error::Usage`] if the environment names no home.
pub fn default_key() -> Result<PathBuf> {
    let config = folder(
        |name| env::var_os(name),
        "XDG_CONFIG_HOME",
        ".config",
        "--key FILE",
    )?;
    Ok(config.join("key"))
}

/// The folder of the catalogs: `$XDG_CACHE_HOME/dtar`, else `~/.cache/dtar`.
///
/// # Errors
/// [`Error::Usage`] if the environment names no home.
pub fn default_catalog() -> Result<PathBuf> {
    folder(
        |name| env::var_os(name),
        "XDG_CACHE_HOME",
        ".cache",
        "--catalog DIR",
    )
}

/// The folder `dtar` below the folder that the variable names, else below
/// `fallback` in the home. Relative paths in the variables are overlooked, as
/// the specification demands.
fn folder(
    variable: impl Fn(&str) -> Option<OsString>,
    name: &str,
    fallback: &str,
    option: &str,
) -> Result<PathBuf> {
    let absolute = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = match absolute(name) {
        Some(base) => base,
        None => absolute("HOME")
            .map(|home| home.join(Path::new(fallback)))
            .ok_or_else(|| {
                Error::Usage(format!(
                    "neither {name} nor HOME names an absolute path; give {option}"
                ))
            })?,
    };
    Ok(base.join("dtar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(variables: &[(&str, &str)]) -> Result<PathBuf> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        folder(variable, "XDG_CACHE_HOME", ".cache", "--catalog DIR")
    }

    #[test]
    fn the_variable_goes_before_the_home() {
        let path = |variables: &[_]| cache(variables).unwrap();
        assert_eq!(path(&[("HOME", "/h")]), Path::new("/h/.cache/dtar"));
        assert_eq!(
            path(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]),
            Path::new("/c/dtar")
        );
        for overlooked in ["", "c"] {
            assert_eq!(
                path(&[("HOME", "/h"), ("XDG_CACHE_HOME", overlooked)]),
                Path::new("/h/.cache/dtar")
            );
        }
    }

    #[test]
    fn no_home_is_an_error_that_names_the_option() {
        let text = cache(&[]).unwrap_err().to_string();
        assert!(text.contains("--catalog DIR"), "{text}");
    }
}
