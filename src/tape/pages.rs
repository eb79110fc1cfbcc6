//! The pages of `formats/` that travel on every tape.

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$((
            concat!("formats/", $name),
            include_bytes!(concat!("../../formats/", $name)) as &[u8],
        )),*]
    };
}

/// Name and content of each.
pub(super) const PAGES: &[(&str, &[u8])] = pages![
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
];
