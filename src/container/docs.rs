//! The pages of `formats/` and the reference reader, which travel in each container.

/// Name in a container, and content.
pub type Page = (&'static str, &'static [u8]);

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$((
            concat!("formats/", $name),
            include_bytes!(concat!("../../formats/", $name)),
        )),*]
    };
}

/// All pages, and the reader.
pub const PAGES: &[Page] = pages![
    "README.md",
    "brick.md",
    "changes.md",
    "chunk.md",
    "collection.md",
    "container.md",
    "frame.md",
    "index.md",
    "keys.md",
    "parity.md",
    "push.md",
    "snapshot.md",
    "store.md",
    "stream.md",
    "tape.md",
    "threat-model.md",
    "reference/README.md",
    "reference/dtar_reader.py",
    "reference/dtar_reference/__init__.py",
    "reference/dtar_reference/__main__.py",
    "reference/dtar_reference/body.py",
    "reference/dtar_reference/brick.py",
    "reference/dtar_reference/frame.py",
    "reference/dtar_reference/index.py",
    "reference/dtar_reference/kem.py",
    "reference/dtar_reference/keys.py",
    "reference/dtar_reference/moved.py",
    "reference/dtar_reference/notes.py",
    "reference/dtar_reference/parity.py",
    "reference/dtar_reference/restore.py",
    "reference/dtar_reference/sections.py",
    "reference/dtar_reference/snapshot.py",
    "reference/dtar_reference/wire.py",
    "reference/requirements.txt",
    "reference/xwing.txt",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn below(dir: &Path, name: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let file = entry.file_name().into_string().unwrap();
            let path = format!("{name}/{file}");
            if entry.path().is_dir() {
                if file != "vectors" && file != "__pycache__" {
                    below(&entry.path(), &path, found);
                }
            } else if file != ".gitignore" && !file.starts_with("test") {
                found.push(path);
            }
        }
    }

    #[test]
    fn all_pages_are_there() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("formats");
        let mut found = Vec::new();
        below(&dir, "formats", &mut found);
        let mut listed: Vec<_> = PAGES.iter().map(|(name, _)| (*name).to_owned()).collect();
        found.sort();
        listed.sort();
        assert_eq!(listed, found);
    }
}
