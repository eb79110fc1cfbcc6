"""The vectors of ../vectors that are about numbers, body records and indexes.

A reader need only refuse what is not `ok`; how it calls the fault is its own.
"""

import io
import os
import tempfile
import unittest
from pathlib import Path

import blake3
from dtar_reference.body import corrected, parse_list, parse_record, reach
from dtar_reference.index import END_LEN, Index, read_index
from dtar_reference.keys import MasterKey
from dtar_reference.restore import Restorer
from dtar_reference.wire import FormatError, Reader

VECTORS = Path(__file__).parent.parent / "vectors"


def tokens(text: str) -> bytes:
    """Tokens between spaces, each hex or `hex*count`."""
    out = b""
    for token in text.split():
        digits, _, count = token.partition("*")
        out += bytes.fromhex(digits) * int(count or 1)
    return out


class Vector:
    def __init__(self, path: Path):
        self.lines = [line.partition(":")[::2] for line in path.read_text().splitlines()]

    def all(self, key: str) -> list[str]:
        return [value.strip() for found, value in self.lines if found == key]

    def text(self, key: str) -> str:
        return self.all(key)[0]

    def bytes(self, key: str) -> bytes:
        return tokens(self.text(key))


def whole_record(v: Vector):
    data = v.bytes("record")
    record, end = parse_record(data, 0, len(data))
    if end != len(data):
        raise FormatError("bytes behind the record")
    return record


def uv(v: Vector):
    r = Reader(v.bytes("bytes"), "number")
    return [("value", str(r.uv())), ("left", r.left())], [("value", v.text("value")), ("left", 0)]


def body_record(v: Vector):
    record = whole_record(v)
    kind = ["member", "opaque", "tail"][record.kind]
    patches = [f"{distance} {new.hex()}" for distance, new in record.patches]
    declared = [] if record.declared is None else [str(record.declared)]
    found = [kind, f"{record.size_form} {record.checksum_form}", str(record.body_len), record.hash.hex()]
    stated = [v.text(key) for key in ("kind", "forms", "body-length", "body-hash")]
    found += [patches, declared, record.padding]
    return found, [*stated, v.all("patch"), v.all("declared"), v.bytes("padding")]


def body_list(v: Vector):
    (item,) = whole_record(v).items
    items = parse_list(v.bytes("list"), item, "list")
    counts = [int(line.split()[0]) if " times " in line else 1 for line in v.all("item")]
    return len(items), sum(counts)


def body_run(v: Vector):
    record, run = whole_record(v), v.bytes("run")
    if reach(record) > len(run):
        raise FormatError("a patch or form beyond the run")
    return corrected(record, run), v.bytes("corrected")


def index_end(v: Vector):
    index = Index.__new__(Index)
    length = int(v.text("index-length"))
    index.view = memoryview(bytes(length - END_LEN) + v.bytes("end").ljust(END_LEN, b"\0"))
    index._end()
    return [index.trailer, index.trailer_len], [int(v.text(f"trailer-{key}")) for key in ("offset", "length")]


def index(v: Vector):
    key, out = MasterKey(v.bytes("master")), io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        for brick in map(tokens, v.all("brick")):
            Path(folder, f"{blake3.blake3(brick).hexdigest()}.brick").write_bytes(brick)
        path = Path(folder, "index")
        path.write_bytes(v.bytes("index"))
        try:
            Restorer(Index(read_index(os.fspath(path)), key), key, [folder]).restore(out)
        except FormatError:
            # What came out before is a true beginning.
            if v.all("stream"):
                assert v.bytes("stream").startswith(out.getvalue()), "bytes came out behind the fault"
            raise
    return out.getvalue(), v.bytes("stream")


KINDS = {"uv": uv, "body-record": body_record, "body-list": body_list, "body-run": body_run, "index-end": index_end}
KINDS |= {
    f"index-{part}": index for part in ("bricks", "compressed", "hints", "map", "restore", "summary", "trailer")
}


class Vectors(unittest.TestCase):
    def test_every_vector(self):
        for kind, run in KINDS.items():
            paths = sorted((VECTORS / kind).iterdir())
            self.assertTrue(paths, kind)
            for path in paths:
                vector = Vector(path)
                with self.subTest(f"{kind}/{path.name}"):
                    if vector.text("expect") == "ok":
                        found, stated = run(vector)
                        self.assertEqual(found, stated)
                    else:
                        with self.assertRaises(FormatError):
                            run(vector)

    def test_no_kind_is_forgotten(self):
        for path in VECTORS.iterdir():
            if path.name == "uv" or path.name.startswith(("body-", "index-")):
                self.assertIn(path.name, KINDS)


if __name__ == "__main__":
    unittest.main()
