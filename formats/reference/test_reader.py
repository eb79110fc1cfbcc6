"""Index and restore: each MUST of index.md broken once."""

import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import testkit as t
import zstandard
from dtar_reference.index import Index, read_index
from dtar_reference.keys import MasterKey
from dtar_reference.restore import Restorer
from dtar_reference.wire import FormatError
from test_bricks import number, put

KEY = MasterKey(t.MASTER)
BIG = [bytes([i]) * (100 + i) for i in range(12)]


def header(size: bytes, checksum_ending=b"\0 ", digits=6, fill=b"a") -> bytes:
    block = bytearray(fill * 512)
    block[124 : 124 + len(size)] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%0*o" % (digits, sum(block)) + checksum_ending
    return bytes(block)


def octal(n: int, digits=11, end=b"\0") -> bytes:
    return b"%0*o" % (digits, n) + end


def rich() -> t.Archive:
    """Every kind of step, record, item, form, patch and padding."""
    a = t.Archive()
    folder = header(octal(0))
    pieces = [("chunk", BIG[0]), ("zeros", 5000), ("chunk", BIG[1]), ("chunk", BIG[0])]
    size = 5000 + 2 * len(BIG[0]) + len(BIG[1])
    for size_form, (digits, end) in ((1, (11, b"\0")), (2, (11, b" ")), (3, (12, b""))):
        for checksum_form, (cd, ce) in {1: (6, b"\0 "), 2: (6, b" \0"), 3: (7, b"\0"), 4: (7, b" ")}.items():
            true = folder + header(octal(size, digits, end), ce, cd)
            how = {"size_form": size_form, "checksum_form": checksum_form}
            a.step(0, folder + header(octal(512)), pieces, true, **how)
    a.step(0, header(octal(512)), [("whole", b"hello")], header(octal(5)), size_form=1, checksum_form=1)
    a.step(0, header(octal(0)), [])
    low = [("list", 1, [("chunk", c) for c in BIG[2:5]]), ("zeros", 7), ("list", 1, [("zeros", 9)])]
    tree = [("list", 2, [*low, ("chunk", BIG[5])]), ("chunk", BIG[6]), ("list", 1, [("chunk", BIG[7])])]
    patch = t.uv(600) + t.uv(4) + b"NEWB" + t.uv(596) + t.uv(2) + b"YT"
    run = b"b" * 1024
    true = bytearray(run)
    true[-600:-594] = b"NEWBYT"
    how = {"padding": b"odd", "fields": t.field(128, patch) + t.field(129, b"odd") + t.field(9, b"later")}
    a.step(1, run, tree, bytes(true), **how)
    a.step(2, folder, [("chunk", BIG[8] + b"opaque")], kind=1)
    how = {"padding": b"", "fields": t.field(129, b"")}
    a.step(1, b"", [("chunk", BIG[9])], **how)
    declared = {"padding": b"", "fields": t.field(130, t.uv(9999)), "size_form": 3, "checksum_form": 4}
    a.step(0, header(octal(512)), [("chunk", BIG[10])], header(octal(9999, 12, b""), b" ", 7), **declared)
    return a.tail([("zeros", 1024), ("chunk", BIG[11])], run=folder * 2)


def simple(tree=(("whole", b"hello"),), tail=(("zeros", 1024),), **how) -> t.Archive:
    return t.Archive().step(0, header(octal(5)), list(tree), **how).tail(list(tail))


def restore(index: bytes, bricks: dict[str, bytes], key=KEY) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in bricks.items():
            Path(folder, name).write_bytes(data)
        path = Path(folder, "index")
        path.write_bytes(index)
        out = io.BytesIO()
        Restorer(Index(read_index(os.fspath(path)), key), key, [folder]).restore(out)
        return out.getvalue()


class Restores(unittest.TestCase):
    def check(self, archive, wrap=t.same, **over):
        bricks = archive.bricks()
        self.assertEqual(restore(wrap(archive.index(**over)), bricks), archive.stream)

    def test_all_kinds(self):
        self.check(rich())

    def test_compressed(self):
        self.check(rich(), zstandard.compress)
        self.check(rich(), lambda i: zstandard.compress(i[:700]) + zstandard.compress(i[700:]))

    def test_what_must_be_ignored(self):
        extra = (b"LATE", 0xFFFFFFFE, b"skipped")
        self.check(simple(), sections=lambda s: [extra, extra, *s])
        self.check(simple(), summ=lambda s: s + t.field(3, b"later"))
        self.check(simple(), summ=lambda s: put(36, b"\xff" * 4)(s))

    def test_no_chunk_at_all(self):
        self.check(t.Archive().tail())
        self.check(simple(tree=[("zeros", 700)]))

    def test_repeated_steps(self):
        a = t.Archive()
        for body in (b"one", b"two", b"two"):
            a.step(1, header(octal(3)), [("whole", body)])
        self.check(a.tail(), maps=lambda m: t.uv(5) + t.uv(3) + t.uv(1) + t.uv(1))

    def test_command_line(self):
        a = rich()
        with tempfile.TemporaryDirectory() as folder:
            for name, data in a.bricks().items():
                place = Path(folder, "store", "bricks", name[:2])
                place.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(data)
            Path(folder, "index").write_bytes(a.index())
            key = Path(folder, "key")
            key.write_text(t.locked())
            key.chmod(0o600)
            command = [sys.executable, Path(__file__).with_name("dtar_reader.py"), "restore"]
            command += ["--key", key, "--bricks", folder, "--bricks", f"{folder}/store", f"{folder}/index"]
            for passphrase, code, stdout in ((b"open", 0, a.stream), (b"wrong", 1, b"")):
                environment = {**os.environb, b"DTAR_PASSPHRASE": passphrase}
                done = subprocess.run(command, env=environment, capture_output=True, check=False)
                self.assertEqual((done.returncode, done.stdout), (code, stdout), done.stderr)
                self.assertEqual(b"wrong passphrase" in done.stderr, code == 1)


class Refusals(unittest.TestCase):
    def refused(self, archive, message, wrap=t.same, change=t.same, **over):
        bricks = change(archive.bricks())
        with self.assertRaisesRegex(FormatError, message):
            restore(wrap(archive.index(**over)), bricks)

    def test_end_and_seal(self):
        for message, over in (
            ("incomplete index", {"index": lambda i: i[:1024]}),
            ("not a dtar index", {"index": lambda i: i[:512]}),
            ("not a dtar index", {"index": lambda i: b"text"}),
            ("empty", {"index": lambda i: b""}),
            ("newer dtar", {"end": put(8, b"\2")}),
            ("bit 0", {"end": put(12, b"\1")}),
            ("check of its end", {"index": lambda i: i[:-1] + bytes([i[-1] ^ 1])}),
            ("reserved", {"end": put(47, b"\1")}),
            ("do not agree", {"end": number(24, 5)}),
            ("do not agree", {"end": number(32, 5)}),
            ("do not agree", {"index": lambda i: b"x" * 512 + i}),
            ("do not agree", {"pad": lambda p: p[1:]}),
            ("too many bytes", {"pad": lambda p: p + bytes(512)}),
            ("padding is not zero", {"pad": lambda p: b"\1" + p[1:]}),
            ("index altered", {"seal": lambda s: bytes(32)}),
            ("index altered", {"index": put(3, b"?")}),
            ("wrong key", {"summ": put(16, b"?")}),
            ("index altered", {"summ": number(32, 4)}),
            ("not where it says", {"trailer": number(16, 512)}),
            ("no dtarTRLR", {"trailer": put(0, b"dtarTRLS")}),
            ("newer dtar", {"trailer": put(8, b"\2")}),
            ("zero blocks", {"gap": bytes(1023) + b"\1"}),
            ("zero blocks", {"gap": bytes(512)}),
            ("incomplete index|damaged", {"index": lambda i: zstandard.compress(i)[:-5]}),
        ):
            with self.subTest(message, over=over):
                self.refused(simple(), message, **over)
        other = simple()
        bricks = other.bricks()
        with self.assertRaisesRegex(FormatError, "wrong key"):
            restore(other.index(), bricks, MasterKey(b"o" * 32))

    def test_sections(self):
        def without(name):
            return lambda sections: [s for s in sections if s[0] != name]

        for message, change in (
            ("critical section b'LATE'", lambda s: [(b"LATE", 1, b""), *s]),
            ("stands twice", lambda s: [s[0], *s]),
            ("DONE has a payload", lambda s: [*s[:-1], (b"DONE", 0, b"x")]),
            ("ends early|too many|twice", without(b"DONE")),
            *((f"no section {n.decode()}", without(n)) for n in (b"SUMM", b"RECS", b"MAPS", b"BRIK")),
            ("one place for each chunk", without(b"HINT")),
            ("order of levels", lambda s: [*s[:-1], s[-2], s[-1]]),
        ):
            with self.subTest(message):
                self.refused(simple(), message, sections=change)

    def test_summary_and_map(self):
        for message, over in (
            ("ends early", {"summ": lambda s: s[:30]}),
            ("critical field 130", {"summ": lambda s: s + t.field(130, b"")}),
            ("stream of", {"summ": number(40, 7)}),
            ("XXH3", {"summ": put(48, b"?" * 16)}),
            ("two zero blocks", {"summ": number(64, 512)}),
            ("members, but", {"summ": number(72, 2)}),
            ("unknown kind of step 3", {"maps": lambda m: put(0, b"\7")(m)}),
            ("repeated no times", {"maps": lambda m: put(1, b"\0")(m)}),
            ("run past|no dtarBODY", {"maps": lambda m: b"\x28\1" + m[2:]}),
            ("no dtarBODY", {"maps": lambda m: b"\0" + m[1:]}),
            ("do not add up", {"maps": lambda m: m[:-2]}),
            ("ends early", {"maps": lambda m: m + b"\1\1"}),
            ("do not add up", {"recs": lambda r: r + b"more"}),
            ("behind the tail", {"recs": lambda r: r + r, "maps": lambda m: m + b"\1\1"}),
            ("kind 1 with a record of kind 1", {"recs": put(20, b"\1")}),
            ("not the tail", {"recs": put(20, b"\0")}),
        ):
            with self.subTest(message, over=over):
                self.refused(simple(), message, **over)
        a = simple()
        a.members = a.members[:-1] + b"\1"
        self.refused(a, "padding is not zero")
        for marker, message in ((t.prefix(b"dtarOPAQ") + bytes(496), "0xff"), (bytes(512), "no dtarOPAQ")):
            self.refused(t.Archive().step(2, b"", [], kind=1, marker=marker).tail(), message)
        self.refused(t.Archive().step(2, b"", []).tail(), "kind 2 with a record of kind 0")
        self.refused(t.Archive().step(0, b"", [], kind=1).tail(), "kind 0 with a record of kind 1")

    def test_records(self):
        def raw(data, body=b""):
            return {"tree": [("raw", data, body)]}

        chunk = b"\1" + t.uv(5) + bytes(32)
        far = t.uv(513) + t.uv(1) + b"x"
        for message, how in (
            ("newer dtar", {"prefix": t.prefix(b"dtarBODY", 2)}),
            ("bit 1", {"prefix": t.prefix(b"dtarBODY", 1, 0, 2)}),
            ("length of the record", {"length": lambda n: 1_048_577}),
            ("record ends early", {"length": lambda n: 1_000_000}),
            ("critical field 131", {"fields": t.field(131, b"")}),
            ("stands twice", {"fields": t.field(129, b"") * 2}),
            ("unknown size form 4", {"size_form": 4}),
            ("unknown checksum form 5", {"checksum_form": 5}),
            ("unknown kind 3", {"kind": 3}),
            ("add up", {"tree": [("chunk", b"hello")], "body_len": lambda n: 6}),
            ("number of items", {"n": lambda n: 65_537}),
            ("whole body beside", {"tree": [("whole", b"a"), ("zeros", 1)]}),
            ("whole body", {"tree": [("whole", b"")]}),
            ("whole body", {"tree": [("whole", b"a")], "body_len": lambda n: 1_048_577}),
            ("unknown item kind 4", raw(b"\4")),
            ("chunk length", raw(b"\1" + t.uv(0) + bytes(32))),
            ("chunk length", raw(b"\1" + t.uv(1_048_577) + bytes(32))),
            ("zero run", raw(b"\3\0")),
            ("bytes covered", raw(b"\2\1\5" + bytes(33))),
            ("level", raw(b"\2\0")),
            ("level", raw(b"\2\x09")),
            ("length of the list", raw(b"\2\1\0")),
            ("one place for each chunk", raw(chunk, bytes(5))),
            ("hash of the body", {"tree": [("chunk", b"hello")], "digest": lambda d: bytes(32)}),
            ("is not 0000", {"digest": lambda d: bytes(32)}),
            ("length of the padding", {"fields": t.field(129, bytes(512))}),
            ("greater than the body", {"fields": t.field(130, t.uv(5))}),
            ("greater than the body", {"fields": t.field(130, t.uv(9) + b"x")}),
            ("distance", {"fields": t.field(128, t.uv(0) + t.uv(1) + b"x")}),
            ("distance", {"fields": t.field(128, t.uv(33_554_433) + t.uv(1) + b"x")}),
            ("length is 0", {"fields": t.field(128, t.uv(9) + t.uv(0))}),
            ("length is 3", {"fields": t.field(128, t.uv(2) + t.uv(3) + b"abc")}),
            ("ends early", {"fields": t.field(128, t.uv(9) + t.uv(3) + b"ab")}),
            ("overlap", {"fields": t.field(128, t.uv(9) + t.uv(2) + b"ab" + t.uv(8) + t.uv(2) + b"ab")}),
            ("in order", {"fields": t.field(128, t.uv(8) + t.uv(2) + b"ab" + t.uv(20) + t.uv(2) + b"ab")}),
            ("reaches beyond", {"fields": t.field(128, far)}),
        ):
            with self.subTest(message, how=how):
                self.refused(simple(**how), message)
        self.refused(t.Archive().step(0, b"", [], size_form=1).tail(), "reaches beyond")
        huge = {"tree": [("raw", b"\3" + t.uv(8**11), b"")], "body_len": lambda n: 8**11}
        self.refused(simple(size_form=1, **huge), "does not fit 11 octal digits")

    def test_lists(self):
        one = [("chunk", b"hello")]
        nested = b"\2\1\5" + bytes(32) + b"\5\1"
        for message, tree in (
            ("unknown item kind 9", [("list", 1, one, {"data": lambda d: b"\x09"})]),
            ("ends early", [("list", 1, one, {"data": lambda d: d[:-1]})]),
            ("number of bytes", [("list", 1, one, {"data": lambda d: d + b"\3\1"})]),
            ("numbers of chunks", [("list", 1, [("zeros", 5), *one], {"data": lambda d: b"\3\x0a"})]),
            ("whole body inside", [("list", 1, one, {"data": lambda d: b"\0"})]),
            ("level 1 inside one of level 1", [("list", 1, one, {"data": lambda d: nested})]),
            ("no list of level 1 inside", [("list", 2, one)]),
            ("one place for each chunk", [("list", 1, one, {"below": lambda n: [7]})]),
        ):
            with self.subTest(message):
                self.refused(simple(tree=tree), message)

    def test_bricks_and_hints(self):
        page = 5  # behind level and number of chunks, of the length and count of a page
        for message, over in (
            ("bytes behind", {"brik": lambda b: b + b"\0"}),
            ("number of frames", {"brik": lambda b: b[:35] + b"\0"}),
            ("a brick stands twice", {"brik": lambda b: b"\2" + b[1:] * 2}),
            ("level", {"hint": put(0, b"\x09")}),
            ("stated number of chunks", {"hint": put(1, b"\2")}),
            ("length of the runs", {"hint": number(2, 65_537)}),
            ("not the stated", {"hint": number(2 + 4, 2)}),
            ("before it", {"hint": number(2 + 8, 1)}),
            ("frame ordinal", {"hint": lambda h: h[:-3] + b"\1" + h[-2:]}),
            ("frame ordinal", {"hint": lambda h: h[:-3] + b"\2" + h[-2:]}),
            ("hint to chunk 1", {"hint": lambda h: h[:-2] + b"\1" + h[-1:]}),
            ("number of chunks in a run", {"hint": lambda h: h[:-1] + b"\0"}),
            ("ends early", {"hint": lambda h: h[:-page]}),
        ):
            with self.subTest(message):
                self.refused(simple(), message, **over)

    def test_brick_files(self):
        self.refused(simple(), "is missing", change=lambda b: {})
        self.refused(simple(), "early", change=lambda b: {n: d[:90] for n, d in b.items()})
        self.refused(simple(), "no dtarFRAM", change=lambda b: {n: bytes(len(d)) for n, d in b.items()})
        a = simple()
        bricks = a.bricks()
        ((name, old),) = bricks.items()
        at, size = 80, a.brik[0][2][0][2]
        swapped = t.frame([b"hellO"])
        self.assertEqual(len(swapped), size)
        with self.assertRaisesRegex(FormatError, "chunk 0 of .* is not"):
            restore(a.index(), {name: old[:at] + swapped + old[at + size :]})
        foreign = t.frame([b"hello"], clear=put(24, b"another store id"))
        with self.assertRaisesRegex(FormatError, "another store"):
            restore(a.index(), {name: old[:at] + foreign + old[at + size :]})
        a.brik[0][2][0] = (0, 0, size, 7)
        with self.assertRaisesRegex(FormatError, "plain length"):
            restore(a.index(), bricks)

    def test_any_change_behind_a_good_seal(self):
        """Nothing but FormatError comes of it, and no other stream."""
        a = simple(tree=[("list", 1, [("chunk", b"hello"), ("zeros", 3)])])
        bricks = a.bricks()
        outcomes = set()
        for name, size in ((b, len(p)) for b, _, p in a.sections()):
            for at in range(size):
                for bit in (1, 16, 128):
                    change = {name.decode().lower(): lambda d, i=at, b=bit: flipped(d, i, b)}
                    try:
                        self.assertEqual(restore(a.index(**change), bricks), a.stream, (name, at, bit))
                        outcomes.add((name, at))
                    except FormatError:
                        pass
        # Reserved bytes, compatible bits, and what restore does not need: length of brick, number of frame.
        ignored = {(b"SUMM", i) for i in range(36, 40)} | {(b"RECS", i) for i in (10, 11, 23)}
        ignored |= {(b"BRIK", i) for i in (33, 34, 36)}
        self.assertEqual(outcomes, ignored)


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] if at < len(data) else data


if __name__ == "__main__":
    unittest.main()
