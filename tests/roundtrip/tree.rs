//! Folders to make archives of.

use std::path::Path;

use tempfile::TempDir;

use crate::common::shell::{must, script};
use crate::common::source::Random;

/// What any format holds: short names, small numbers.
pub fn plain() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("t");
    std::fs::create_dir_all(tree.join("dir/empty")).unwrap();
    let mut random = Random(1);
    for size in [0, 1, 511, 512, 513, 1024, 10_000, 70_000] {
        let bytes = random.bytes(size);
        std::fs::write(tree.join(format!("file-{size}")), bytes).unwrap();
    }
    std::fs::write(tree.join("text"), "the same line\n".repeat(30_000)).unwrap();
    std::fs::write(tree.join("zeros"), vec![0; 200_000]).unwrap();
    std::fs::write(tree.join("dir/copy"), "the same line\n".repeat(30_000)).unwrap();
    must(
        &tree,
        "ln file-513 dir/hard; ln -s ../text dir/soft; mkfifo fifo
         chmod 6751 file-1; chmod 1777 dir/empty
         find . -exec touch -hd '2024-02-29 12:34:56 UTC' {} +",
        &[],
    );
    // Only root can, and only outside of some containers: what is missing makes
    // the archive smaller, not wrong.
    script(&tree, "mknod null c 1 3; mknod disk b 8 0", &[]);
    dir
}

/// What needs extension headers: long and foreign names, links and times.
pub fn rich() -> TempDir {
    let dir = plain();
    let tree = dir.path().join("t");
    let long = "a-name-of-more-than-a-hundred-bytes-".repeat(4);
    let deep = format!("{}/{}", "d".repeat(90), "e".repeat(120));
    std::fs::create_dir_all(tree.join(&deep)).unwrap();
    std::fs::write(tree.join(&long), "long name").unwrap();
    std::fs::write(tree.join(&deep).join(&long), "longer name").unwrap();
    std::fs::write(tree.join("gr\u{fc}n \u{2603}"), "not ASCII").unwrap();
    std::os::unix::fs::symlink(format!("{deep}/{long}"), tree.join("soft-long")).unwrap();
    std::fs::hard_link(tree.join(&long), tree.join("hard-long")).unwrap();
    std::fs::write(tree.join("large"), Random(2).bytes(3 << 20)).unwrap();
    must(
        &tree,
        "touch -d '2001-02-03 04:05:06.789012345 UTC' text",
        &[],
    );
    script(&tree, "chown 3000000:4000000 file-512", &[]);
    dir
}

/// What readers take for different things: names that are no UTF-8, line
/// breaks, backslashes, times before 1970.
pub fn wild() -> TempDir {
    let dir = rich();
    let tree = dir.path().join("t");
    must(
        &tree,
        r#"printf 1 > "$(printf 'latin\xff\xe9')"
           printf 2 > "$(printf 'two\nlines')"
           printf 3 > 'back\slash'
           printf 4 > '  spaces  '
           printf 5 > old; touch -d '1965-01-01 00:00:00.5 UTC' old
           printf 6 > late; touch -d '2400-01-01 UTC' late"#,
        &[],
    );
    dir
}

/// Files with holes: few, many (so that the map needs blocks of its own), and nothing else.
pub fn sparse() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("t");
    std::fs::create_dir(&tree).unwrap();
    must(
        &tree,
        "truncate -s 3M hole-only
         truncate -s 5M few; printf data | dd of=few bs=1 seek=1048576 conv=notrunc status=none
         truncate -s 8M many
         for n in $(seq 0 63); do
           printf \"$n\" | dd of=many bs=64k seek=$((2 * n)) conv=notrunc status=none
         done
         truncate -s 9G huge; printf end | dd of=huge bs=1M seek=9000 conv=notrunc status=none
         echo dense > dense",
        &[],
    );
    dir
}

/// The bytes of a file beside the tree.
pub fn read(dir: &TempDir, name: &str) -> Vec<u8> {
    let path: &Path = &dir.path().join(name);
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The plain tree with extended attributes and access lists.
pub fn with_attributes() -> TempDir {
    let dir = plain();
    must(
        &dir.path().join("t"),
        "setfattr -n user.colour -v green text
         setfattr -n user.binary -v 0x00ff0a3d dir
         setfattr -n user.empty file-0
         setfacl -m u:1234:rw,g:2345:r text
         setfacl -d -m u:1234:rx dir",
        &[],
    );
    dir
}
