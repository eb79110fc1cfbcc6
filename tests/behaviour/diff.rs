//! `dtar diff` says what differs between two indexes.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::block::{Header, Stream};
use crate::common::sandbox::{Run, Sandbox};
use crate::common::shell::{have, must};
use crate::common::source::Random;
use crate::json::summary;

/// The lines of JSON on standard output.
pub fn lines(run: &Run) -> Vec<Value> {
    String::from_utf8(run.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Archives both streams, and compares them with more `arguments`.
fn diff(old: &[u8], new: &[u8], arguments: &[&str]) -> Run {
    let sandbox = Sandbox::new();
    sandbox.archive("old.tar", old);
    sandbox.archive("new.tar", new);
    sandbox.run(["diff", "old.tar", "new.tar"].iter().chain(arguments))
}

fn text(run: &Run) -> String {
    String::from_utf8(run.stdout.clone()).unwrap()
}

/// What changed of a member, and nothing else may.
#[track_caller]
fn changes(old: Stream, new: Stream) -> Vec<String> {
    let run = diff(&old.end(), &new.end(), &["--json"]).exits(0);
    let lines = lines(&run);
    assert_eq!(lines.len(), 1, "{}", text(&run));
    assert_eq!(lines[0]["change"], "changed");
    let words = lines[0]["what"].as_array().unwrap();
    words
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

fn one(header: &Header) -> Stream {
    Stream::new().file("same", b"same").header(header)
}

fn with_pax(records: &[(&str, &[u8])]) -> Stream {
    Stream::new().pax(b'x', records).file("name", b"body")
}

#[test]
fn each_kind_of_change_has_its_word() {
    let file = Header::file("name", 0);
    let link = file.clone().link("one").typeflag(b'2');
    let device = file.clone().field(329, b"0000001\0").typeflag(b'3');
    let of =
        |header: &Header, offset, bytes: &[u8]| one(&header.clone().field(offset, bytes).sum());
    let plain = || one(&file);
    for (old, new, word) in [
        (plain(), of(&file, 100, b"0000600"), "mode"),
        (plain(), of(&file, 108, b"0000001"), "owner"),
        (plain(), of(&file, 116, b"0000001"), "owner"),
        (plain(), of(&file, 265, b"other"), "owner"),
        (plain(), of(&file, 136, b"00000000000"), "time"),
        (plain(), one(&link), "type"),
        (one(&link), one(&link.clone().link("two")), "link"),
        (one(&device), of(&device, 337, b"0000003\0"), "device"),
        (
            plain(),
            Stream::new().file("same", b"same").file("name", b"1"),
            "content",
        ),
        (
            with_pax(&[("SCHILY.xattr.user.a", b"1")]),
            with_pax(&[("SCHILY.xattr.user.a", b"2")]),
            "attributes",
        ),
        (
            with_pax(&[("mtime", b"1.5")]),
            with_pax(&[("mtime", b"1.500000001")]),
            "time",
        ),
    ] {
        assert_eq!(changes(old, new), [word]);
    }
}

#[test]
fn what_says_the_same_in_another_way_is_no_difference() {
    let plain = Stream::new().file("dir/name", b"body");
    let same = [
        Stream::new().file("./dir/name", b"body"),
        Stream::new()
            .pax(b'x', &[("path", b"dir/name")])
            .file("short", b"body"),
        // Times that change when a file is only read or looked at.
        Stream::new()
            .pax(b'x', &[("atime", b"5"), ("ctime", b"6"), ("comment", b"")])
            .file("dir/name", b"body"),
    ];
    for (number, other) in same.into_iter().enumerate() {
        let other = if number == 2 {
            // A comment is a record like others, so it stands in both.
            let plain = Stream::new()
                .pax(b'x', &[("comment", b"")])
                .file("dir/name", b"body");
            (plain.end(), other.end())
        } else {
            (plain.clone().end(), other.end())
        };
        let run = diff(&other.0, &other.1, &["--exit-code"]).exits(0);
        assert_eq!((text(&run), run.stderr.as_str()), (String::new(), ""));
    }
    let order = |keys: [&str; 2]| with_pax(&[(keys[0], b"1"), (keys[1], b"1")]).end();
    let (one, two) = ("SCHILY.xattr.a", "SCHILY.xattr.b");
    let run = diff(&order([one, two]), &order([two, one]), &["--exit-code"]).exits(0);
    assert!(run.stdout.is_empty());
}

#[test]
fn lines_tell_sign_letters_sizes_and_name() {
    let old = Stream::new()
        .file("z-gone", &[1; 700])
        .file("same", b"same")
        .file("changed", b"12345")
        .file("later", b"x");
    let new = Stream::new()
        .file("changed", b"1234567")
        .file("a-new", b"12")
        .file("same", b"same")
        .header(&Header::file("later", 1).field(136, b"00000000000").sum())
        .body(b"x");
    let (old, new) = (old.end(), new.end());
    let run = diff(&old, &new, &[]).exits(0);
    let fields: Vec<Vec<_>> = text(&run)
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect();
    assert_eq!(
        fields,
        [
            vec!["+", "-", "2", "a-new"],
            vec!["*", "c", "5", "7", "changed"],
            vec!["*", "t", "1", "1", "later"],
            vec!["-", "700", "-", "z-gone"],
        ]
    );
    assert_eq!(run.stderr, "");
    let timeless = diff(&old, &new, &["--no-times", "--exit-code"]).exits(4);
    assert_eq!(text(&timeless).lines().count(), 3);
    let run = diff(&old, &new, &["z*", "--json", "--stat"]).exits(0);
    assert_eq!(lines(&run).len(), 1);
    let run = diff(&old, &new, &["nothing"]).exits(1);
    run.says(&["nothing: no member of either index"]);
    // A failure is not a difference.
    diff(&old, &new, &["nothing", "a-new", "--exit-code"]).exits(1);
}

#[test]
fn who_reads_only_the_first_difference_hears_of_it_all_the_same() {
    let sandbox = Sandbox::new();
    let many = |size: u64| {
        let header = |number: u32| Header::file(&format!("a-name-of-some-length-{number}"), size);
        let add = |stream: Stream, number| stream.header(&header(number)).body(b"x");
        (0..5000).fold(Stream::new(), add).end()
    };
    sandbox.archive("old.tar", &Stream::new().end()[..]);
    sandbox.archive("new.tar", &many(1)[..]);
    let script = "\"$0\" diff --exit-code old.tar new.tar | head -n 1; echo ${PIPESTATUS[0]}";
    let dtar = sandbox.command([""]);
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .arg(dtar.get_program())
        .env("DTAR_KEY", sandbox.key())
        .env("DTAR_STORE", sandbox.store())
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(text.lines().last(), Some("4"));
}

#[test]
fn the_summary_counts_members_bytes_and_chunks() {
    let mut body = Random(1).bytes(3 << 20);
    let old = Stream::new()
        .file("gone", &[1; 700])
        .file("large", &body)
        .file("touched", b"once")
        .end();
    body[2 << 20] ^= 1;
    let new = Stream::new()
        .file("large", &body)
        // It stands in the old stream, under another name.
        .file("moved", &[1; 700])
        .header(&Header::file("touched", 4).field(136, b"00000000000").sum())
        .body(b"once")
        .end();
    let run = diff(&old, &new, &["--stat", "--json"]).exits(0);
    let told = summary(&run);
    for (key, value) in [
        ("added", 1),
        ("removed", 1),
        ("changed", 2),
        ("same", 0),
        ("bytes_added", (3 << 20) + 700),
        ("bytes_removed", (3 << 20) + 700),
        ("overruled", 0),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
    // A chunk or two around the byte that changed, of a mean length.
    assert_eq!(told["chunk_bytes_estimated"], true);
    let bytes = told["chunk_bytes"].as_u64().unwrap();
    assert!((1_000..500_000).contains(&bytes), "{bytes}");
    let run = diff(&old, &old, &["--stat", "--json", "--exit-code"]).exits(0);
    assert_eq!(summary(&run)["chunk_bytes"], 0);
    let run = diff(&old, &new, &["--stat"]).exits(0);
    run.says(&[
        "1 added, 1 removed, 2 changed",
        "only the second needs: about",
    ]);
}

#[test]
fn of_a_name_that_stands_again_the_last_counts() {
    let last = Stream::new().file("a", b"last").end();
    let twice = Stream::new().file("a", b"first").file("./a", b"last").end();
    let run = diff(&twice, &last, &["--exit-code"]).exits(0);
    let run = run.says(&["1 member is not looked at"]);
    assert!(run.stdout.is_empty());
    let run = diff(&twice, &Stream::new().file("a", b"first").end(), &[]).exits(0);
    assert!(text(&run).starts_with("* c"));
}

#[test]
fn hard_links_are_compared_by_what_they_link_to() {
    let with = |body: &[u8], target: &str| {
        Stream::new()
            .file("target", body)
            .header(&Header::file("link", 0).link(target).typeflag(b'1'))
            .end()
    };
    let run = diff(&with(b"1", "target"), &with(b"2", "target"), &["--json"]).exits(0);
    let found = lines(&run);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["new"]["name"], "target");
    let run = diff(&with(b"1", "target"), &with(b"1", "other"), &["--json"]).exits(0);
    assert_eq!(lines(&run)[0]["what"], json!(["link"]));
    // As of names, `./` in front says nothing.
    diff(
        &with(b"1", "target"),
        &with(b"1", "./target"),
        &["--exit-code"],
    )
    .exits(0);
}

#[test]
fn sparse_files_differ_where_their_holes_do() {
    let sparse = |map: &[u8]| {
        let records: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"holes"),
            ("GNU.sparse.realsize", b"9000"),
        ];
        Stream::new()
            .pax(b'x', &records)
            .header(&Header::file("GNUSparseFile.0/holes", 512 + 4))
            .body(map)
            .body(b"data")
            .end()
    };
    let (one, two) = (sparse(b"1\n0\n4\n"), sparse(b"1\n512\n4\n"));
    let run = diff(&one, &two, &["--json"]).exits(0);
    let found = lines(&run);
    assert_eq!(found[0]["what"], json!(["content"]));
    assert_eq!(found[0]["new"]["name"], "holes");
    diff(&one, &one, &["--exit-code"]).exits(0);
}

#[test]
fn names_that_are_not_utf_8_are_kept_apart() {
    let named = |name: &[u8]| {
        let header = Header::file("", 0).field(0, name).sum();
        Stream::new().header(&header).end()
    };
    let run = diff(&named(b"bad\xff"), &named(b"bad\xfe"), &["--json"]).exits(0);
    let found = lines(&run);
    assert_eq!(found[0]["change"], "added");
    assert_eq!(found[0]["new"]["name_hex"], "626164fe");
    assert_eq!(found[1]["old"]["name_hex"], "626164ff");
    assert!(found[0]["old"].is_null() && found[1]["new"].is_null());
    let run = diff(&named(b"bad\x1b[2J"), &named(b"other"), &[]).exits(0);
    assert!(text(&run).contains("bad\\033[2J"));
}

#[test]
fn json_holds_what_ls_says_and_a_hash() {
    let stream = Stream::new().file("text", b"12345").end();
    let sandbox = Sandbox::new();
    sandbox.archive("old.tar", &[][..]);
    sandbox.archive("new.tar", &stream[..]);
    let mut listed = lines(&sandbox.run(["ls", "--json", "new.tar"]).exits(0));
    listed[0]["hash"] = json!(blake3::hash(b"12345").to_hex().to_string());
    let run = sandbox.run(["diff", "--json", "@2", "@latest"]).exits(0);
    assert_eq!(
        lines(&run),
        [json!({ "change": "added", "new": listed[0] })]
    );
    let help = sandbox.run(["diff", "--help"]).exits(0);
    for key in ["what", "old", "hash", "chunk_bytes", "overruled"] {
        assert!(text(&help).contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn files_snapshots_and_compressed_indexes_compare_alike() {
    let sandbox = Sandbox::new();
    let (old, new) = (
        Stream::new().file("a", b"1").end(),
        Stream::new().file("b", b"1").end(),
    );
    sandbox.archive("old.tar", &old[..]);
    sandbox.archive("new.tar", &new[..]);
    let expected = sandbox.run(["diff", "old.tar", "new.tar"]).exits(0).stdout;
    assert!(!expected.is_empty());
    let mut pairs = vec![["@2", "@latest"], ["@2", "new.tar"], ["old.tar", "@1"]];
    if have("zstd") {
        must(sandbox.path(), "zstd -q old.tar", &[]);
        pairs.push(["old.tar.zst", "new.tar"]);
    }
    for pair in pairs {
        let run = sandbox.run(["diff"].iter().chain(&pair)).exits(0);
        assert!(run.stdout == expected, "{pair:?}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let sandbox = Sandbox::new();
    let index = sandbox.archive("index.tar", &Stream::new().file("a", b"1").end()[..]);
    let diff = |arguments: &[&str]| sandbox.run(["diff"].iter().chain(arguments));
    diff(&["index.tar", "@2"])
        .exits(1)
        .says(&["no snapshot 2: there are 1"]);
    diff(&["index.tar", "nowhere.tar"]).exits(1);
    diff(&["index.tar"]).exits(2);
    let bytes = fs::read(index).unwrap();
    fs::write(sandbox.path().join("cut.tar"), &bytes[..bytes.len() - 512]).unwrap();
    diff(&["cut.tar", "index.tar"])
        .exits(3)
        .says(&["incomplete index"]);
    let mut altered = bytes.clone();
    altered[0] = b'b';
    fs::write(sandbox.path().join("altered.tar"), altered).unwrap();
    let run = diff(&["index.tar", "altered.tar"]).exits(3);
    assert!(run.says(&["index altered"]).stdout.is_empty());
    sandbox.run(["key", "new", "stranger"]).exits(0);
    let stranger = ["index.tar", "index.tar", "--key", "stranger"];
    diff(&stranger).exits(1).says(&["wrong key"]);
    let run = diff(&[&stranger[..], &["--unauthenticated"]].concat()).exits(0);
    run.says(&["cannot check"]);
    // A slip of the pen must not drop the check.
    let run = diff(&["index.tar", "index.tar", "--key", "nowhere"]).exits(1);
    assert_eq!(run.says(&["no key here"]).stderr.lines().count(), 1);
}

/// A stream of so many empty files with names of 250 bytes, not sorted.
fn many(count: u64, first: u64) -> Vec<u8> {
    let folder = "folder/".repeat(21);
    let mut stream = Vec::new();
    for number in first..first + count {
        let name = format!("{}-{:0>90}", number * 7919 % count, number);
        let header = Header::file(&name, 0).field(345, &folder.as_bytes()[..146]);
        stream.extend_from_slice(&header.sum().0);
    }
    stream.resize(stream.len() + 1024, 0);
    stream
}

#[test]
fn memory_does_not_grow_with_the_number_of_members() {
    const MEMBERS: u64 = 200_000;
    const BOUND: u64 = 128 << 10;
    let sandbox = Sandbox::new();
    // Every hundredth is another one. In memory these would take 230 MiB.
    sandbox.archive("old.tar", &many(MEMBERS, 0)[..]);
    sandbox.archive("new.tar", &many(MEMBERS, MEMBERS / 100)[..]);
    let mut child = sandbox
        .command(["diff", "old.tar", "new.tar", "--stat", "--json"])
        .stdout(fs::File::create(sandbox.path().join("out")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let exit = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let own = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kibibytes = own.and_then(|own| own.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kibibytes.unwrap_or(0));
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        thread::sleep(Duration::from_millis(2));
    };
    assert!(exit.success());
    let out = fs::read_to_string(sandbox.path().join("out")).unwrap();
    println!("{peak} KiB");
    assert!((1..BOUND).contains(&peak), "{peak} KiB");
    assert!(out.lines().count() >= 4000, "{}", out.lines().count());
}
