"""The vectors of keys, frames and bricks (../vectors): what dtar reads the reader reads, what dtar refuses it refuses."""

import os
import tempfile
import unittest
from collections import defaultdict
from pathlib import Path

from dtar_reference.brick import BrickHeader, Toc, open_sidecar
from dtar_reference.frame import Frame
from dtar_reference.keys import MasterKey, PutKey, parse_key
from dtar_reference.notes import Note
from dtar_reference.parity import Description, Head, check, recovery_shard, repair
from dtar_reference.snapshot import Root, Snapshot, join
from dtar_reference.wire import FormatError, blake3_256

FOLDER = Path(__file__).parent.parent / "vectors"


class Vector:
    def __init__(self, path: Path):
        self.lines: dict[str, list[str]] = defaultdict(list)
        for line in path.read_text().splitlines():
            key, value = line.split(":", 1)
            self.lines[key].append(value.strip())

    def text(self, key: str) -> str:
        return self.lines[key][0]

    def bytes(self, key: str) -> bytes:
        return bytes.fromhex(self.text(key))

    def key(self) -> MasterKey:
        return MasterKey(self.bytes("master"))


def frame(test, v):
    opened = Frame(v.bytes("frame"), v.key(), "frame", v.bytes("store-id"))
    return lambda: test.assertEqual([opened.chunk(i).hex() for i in range(len(opened))], v.lines["chunk"])


def brick_header(test, v):
    header = BrickHeader(v.bytes("header"))
    return lambda: test.assertEqual((header.store_id, header.salt), (v.bytes("store-id"), v.bytes("salt")))


def contents(test, v, toc, frames):
    lines, offset = [], 80
    for (length, plain, chunks), origins in zip(frames, toc.origins):
        lines.append(f"frame at {offset} length {length} plain {plain}")
        lines += [f"origin {brick.hex()} place {place}" for brick, place in origins]
        lines += [f"chunk {name.hex()} length {n}" for name, n in chunks]
        offset += length

    def check():
        test.assertEqual(lines, v.lines["holds"])
        test.assertEqual(toc.writer, v.bytes("writer"))

    return check


def toc(test, v):
    opened = Toc(v.bytes("toc"))
    return contents(test, v, opened, opened.open(v.key()))


def sidecar(test, v):
    opened = open_sidecar(v.bytes("sidecar"), v.bytes("brick-name"), v.key())
    return contents(test, v, opened, opened.open(v.key()))


def root(test, v):
    opened = Root(v.bytes("root"), v.key())
    if opened.store_id != b"a store of tests":
        raise FormatError("root of another store")

    def check():
        test.assertEqual(opened.time, int(v.text("time")))
        test.assertEqual((opened.writer, opened.host, opened.label), tuple(map(v.bytes, ("writer", "host", "label"))))
        test.assertEqual([f"{name.hex()} {bitmap.hex()}" for name, bitmap in opened.bricks], v.lines["brick"])
        stated = (v.bytes("snapshot-hash"), int(v.text("index-length"))) if v.lines["snapshot-hash"] else None
        test.assertEqual(opened.snapshot, stated)

    return check


def note(test, v):
    opened = Note(v.bytes("note"), v.key())
    if opened.store_id != b"a store of tests":
        raise FormatError("note of another store")

    def check():
        found = (opened.kind, opened.process, opened.time, opened.random, opened.writer)
        stated = (*(int(v.text(name)) for name in ("kind", "process", "time")), v.bytes("random"), v.bytes("writer"))
        test.assertEqual(found, stated)
        test.assertEqual((opened.host, opened.boot_id, opened.text), tuple(map(v.bytes, ("host", "boot-id", "text"))))
        test.assertEqual([name.hex() for name in opened.bricks], v.lines["brick"])

    return check


def parity_code(test, v):
    originals, recovery = (list(map(bytes.fromhex, v.lines[name])) for name in ("original", "recovery"))
    made = [recovery_shard(originals, len(recovery), j) for j in range(len(recovery))]
    return lambda: test.assertEqual(made, recovery)


def parity_head(test, v):
    Head(v.bytes("head"))
    return lambda: None


def parity_description(test, v):
    Description(v.bytes("description"))
    return lambda: None


def parity_set(test, v):
    def check_and_repair():
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as to:
            bricks = [bytes.fromhex(brick) for brick in v.lines["brick"]]
            for ending, files in (("brick", bricks), ("parity", map(bytes.fromhex, v.lines["file"]))):
                for data in files:
                    Path(folder, f"{blake3_256(data).hex()}.{ending}").write_bytes(data)
            test.assertEqual(check([folder]), [])
            lost = [bricks[int(number)] for number in v.text("lost").split()]
            for data in lost:
                os.unlink(Path(folder, f"{blake3_256(data).hex()}.brick"))
            test.assertEqual(len(check([folder])), len(lost))
            repair([folder], to)
            test.assertEqual(sorted(path.read_bytes() for path in Path(to).iterdir()), sorted(lost))

    return check_and_repair


def snapshot(test, v):
    opened = Snapshot(v.bytes("snapshot"), v.key(), b"a store of tests")
    lines = []
    for number, (length, items) in enumerate(opened.streams):
        lines.append(f"stream {number} length {length}")
        for item in items:
            line = f"{'chunk' if item.kind == 1 else 'list'} {item.hash.hex()} length {item.length}"
            if item.kind != 1:
                line += f" covers {item.covers} counts {' '.join(map(str, item.below))}"
            lines.append(line)

    def check():
        test.assertEqual((opened.time, opened.index_len), (int(v.text("time")), int(v.text("index-length"))))
        test.assertEqual(opened.writer, v.bytes("writer"))
        test.assertEqual(lines, v.lines["holds"])

    return check


def snapshot_join(test, v):
    streams = [v.bytes(f"stream-{number}") for number in range(7)]
    joined = join(streams, int(v.text("index-length")))
    return lambda: test.assertEqual(joined.hex(), v.text("index"))


def holds_key(test, v, key):
    make = MasterKey if v.text("kind") == "dtar-secret-key-" else PutKey
    return lambda: test.assertEqual(vars_of(key), vars_of(make(v.bytes("data"))))


def vars_of(key):
    return {name: value for name, value in vars(key).items() if isinstance(value, bytes | int)}


def key_file(test, v):
    return holds_key(test, v, parse_key(v.bytes("file")))


def passphrase(test, v):
    return holds_key(test, v, parse_key(v.bytes("file"), v.bytes("passphrase")))


def key_derivation(test, v):
    key = v.key()
    secret = key.put_secret(v.bytes("store-id"), int(v.text("epoch")))
    found = (secret, key.gear_key, key.key_id)
    return lambda: test.assertEqual(found, tuple(v.bytes(name) for name in ("put-secret", "gear-key", "key-id")))


def in_brick(_name, v) -> bool:
    """The reader compares frame or TOC with the brick's header where it reads the brick: see test_bricks.py."""
    return "brick-header" in v.lines


class Vectors(unittest.TestCase):
    def run_kind(self, kind: str, run, left_out=lambda name, v: False):
        paths = sorted((FOLDER / kind).glob("*.txt"))
        self.assertTrue(paths, kind)
        for path in paths:
            v = Vector(path)
            if left_out(path.stem, v):
                continue
            with self.subTest(vector=f"{kind}/{path.stem}"):
                if v.text("expect") == "ok":
                    run(self, v)()
                else:
                    with self.assertRaises(FormatError):
                        run(self, v)

    def test_frames(self):
        self.run_kind("frame", frame, in_brick)

    def test_brick_headers(self):
        self.run_kind("brick-header", brick_header)

    def test_tocs(self):
        self.run_kind("toc", toc, in_brick)

    def test_sidecars(self):
        self.run_kind("sidecar", sidecar)

    def test_roots(self):
        self.run_kind("root", root)

    def test_notes(self):
        self.run_kind("note", note)

    def test_parity(self):
        self.run_kind("parity-code", parity_code)
        self.run_kind("parity-head", parity_head)
        self.run_kind("parity-description", parity_description)
        self.run_kind("parity-set", parity_set)

    def test_snapshots(self):
        self.run_kind("snapshot", snapshot)
        self.run_kind("snapshot-join", snapshot_join)

    def test_keys(self):
        # Modes are those of files, and a public key restores nothing.
        self.run_kind("key-file", key_file, lambda name, v: "mode" in v.lines or name == "public")
        self.run_kind("passphrase", passphrase)
        self.run_kind("key-derivation", key_derivation)


if __name__ == "__main__":
    unittest.main()
