"""Frames, bricks, TOCs and sidecars: each MUST of frame.md and brick.md broken once."""

import os
import struct
import tempfile
import unittest
from pathlib import Path

import blake3
import testkit as t
import zstandard
from dtar_reference.brick import Toc, open_sidecar, verify_brick
from dtar_reference.frame import Frame, _decompress
from dtar_reference.keys import MasterKey
from dtar_reference.wire import FormatError

KEY = MasterKey(t.MASTER)
OTHER = MasterKey(b"o" * 32)
CHUNKS = [b"one", b"two" * 1000, bytes(range(256))]
GOOD = t.frame(CHUNKS)


def put(at: int, new: bytes):
    return lambda data: data[:at] + new + data[at + len(new) :]


def number(at: int, value: int):
    return put(at, struct.pack("<I", value))


def many_zeros(data: bytes) -> bytes:
    return zstandard.compress(data + bytes(1 << 24))


class Frames(unittest.TestCase):
    def opens(self, data, key=KEY, **how):
        frame = Frame(data, key, "frame", **how)
        return [frame.chunk(i) for i in range(len(frame))]

    def test_opens(self):
        stranger = t.recipient(b"x" * 32)
        unknown = t.recipient(ids=(0x647A, 2, 3))
        short = t.recipient(wrapped=lambda w: w[:-1])
        for data in (
            GOOD,
            t.frame(CHUNKS, codec=0, number=9),
            t.frame(CHUNKS, padding=0),
            t.frame(CHUNKS, clear=number(68, 1)),
            t.frame(CHUNKS, clear=put(10, b"\xff\xff")),
            t.frame(CHUNKS, fields=t.field(7, b"later")),
            t.frame(CHUNKS, recipients=[stranger, unknown, short, t.recipient()]),
        ):
            self.assertEqual(self.opens(data), CHUNKS)

    def test_header_refusals(self):
        for data, message in (
            (t.frame(CHUNKS, clear=put(0, b"dtarFRAN")), "no dtarFRAM"),
            (t.frame(CHUNKS, clear=put(8, b"\2")), "newer dtar"),
            (t.frame(CHUNKS, clear=number(12, 1 << 31)), "bit 31"),
            (t.frame(CHUNKS, clear=number(16, 129)), "header length"),
            (t.frame(CHUNKS, clear=number(16, 65_537)), "header length"),
            (t.frame(CHUNKS, clear=number(20, 31)), "sealed length"),
            (t.frame(CHUNKS, clear=number(20, 68_157_441)), "sealed length"),
            (t.frame(CHUNKS, clear=number(60, 0)), "epoch is 0"),
            (t.frame(CHUNKS, clear=put(64, b"\2")), "unknown class 2"),
            (t.frame(CHUNKS, clear=put(65, b"\2")), "unknown codec 2"),
            (t.frame(CHUNKS, clear=put(66, b"\0")), "unknown seal 0"),
            (t.frame(CHUNKS, clear=put(67, b"\0")), "recipients"),
            (t.frame(CHUNKS, recipients=[t.recipient()] * 33), "recipients"),
            (t.frame(CHUNKS, clear=put(67, b"\2")), "early"),
            (t.frame(CHUNKS, clear=put(24, b"other store id!!")), "another store"),
            (t.frame(CHUNKS, fields=t.field(200, b"")), "critical field 200"),
            (put(30, b"?")(GOOD), "check does not match"),
            (GOOD[:60], "ends early"),
            (GOOD[:-1], "are stated"),
            (GOOD[:-1] + b"?" + GOOD[-1:], "are stated"),
        ):
            with self.assertRaisesRegex(FormatError, message):
                self.opens(data, store_id=t.STORE_ID)

    def test_seal_refusals(self):
        flip = bytes([GOOD[-1] ^ 1])
        for data, key, message in (
            (GOOD, OTHER, f"not sealed to this key.*{KEY.key_id.hex()}"),
            (t.frame(CHUNKS, recipients=[t.recipient(ids=(1, 1, 3))]), KEY, "not sealed"),
            (put(len(GOOD) - 1, flip)(GOOD), KEY, "seal does not verify"),
            (t.frame(CHUNKS, clear=number(56, 5)), KEY, "seal does not verify"),
            (t.frame(CHUNKS, clear=put(80, b"?")), KEY, "seal does not verify"),
            (t.frame(CHUNKS, siv_of=lambda o: o[:-1]), KEY, "seal does not verify"),
            (t.frame(CHUNKS, recipients=[t.recipient(wrapped=lambda w: bytes(48))]), KEY, "wrapped key"),
            (t.frame(CHUNKS, recipients=[t.recipient(encap=lambda e: bytes(1120))]), KEY, "wrapped key"),
        ):
            with self.assertRaisesRegex(FormatError, message):
                self.opens(data, key)

    def test_content_refusals(self):
        for over, message in (
            ({"opened": lambda o: number(0, len(o) - 15)(o)}, "ends early"),
            ({"opened": number(4, 67_108_865)}, "plain length"),
            ({"opened": number(8, 0)}, "number of chunks"),
            ({"opened": number(8, 65_537)}, "number of chunks"),
            ({"opened": number(8, 2)}, "more than the stated"),
            ({"opened": number(8, 4)}, "ends early"),
            ({"opened": number(12, 3)}, "ends early"),
            ({"opened": number(12, 6)}, "chunk length|add up|more"),
            ({"opened": number(12, 1 << 20)}, "longer than the plain"),
            ({"opened": lambda o: o[:-1] + b"\1"}, "padding"),
            ({"lengths": lambda n: [2, *n[1:]]}, "add up"),
            ({"lengths": lambda n: [0, *n[1:]]}, "chunk length"),
            ({"lengths": lambda n: [1_048_577, *n[1:]]}, "chunk length"),
            ({"plain": lambda p: b"+" + p}, "add up"),
            ({"content": lambda c: c[:-1]}, "does not decompress|whole"),
            ({"content": lambda c: b"?" + c[1:]}, "no zstd frame"),
            ({"content": lambda c: c + b"x"}, "whole"),
            ({"content": lambda c: c + c}, "whole"),
            ({"content": lambda c: many_zeros(zstandard.decompress(c))}, "does not decompress to"),
            ({"codec": 0, "content": lambda c: c + b"x"}, "content length"),
        ):
            with self.assertRaisesRegex(FormatError, message, msg=over):
                self.opens(t.frame(CHUNKS, **over))

    def test_decompression_stops(self):
        bomb = zstandard.compress(bytes(1 << 30))
        with self.assertRaisesRegex(FormatError, "does not decompress to 5 bytes"):
            _decompress(bomb, 5, "bomb")


class Bricks(unittest.TestCase):
    FRAMES = (GOOD, t.frame([b"last"], number=1, codec=0))
    LISTS = (CHUNKS, [b"last"])

    def verify(self, data, key=KEY, name=None):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name or blake3.blake3(data).hexdigest()}.brick")
            path.write_bytes(data)
            return verify_brick(os.fspath(path), key)

    def test_verifies(self):
        data = t.brick(self.FRAMES, self.LISTS)
        self.assertIn("2 frames", self.verify(data))
        self.assertIn("2 frames", self.verify(data, None))

    def test_refusals(self):
        brick = t.brick(self.FRAMES, self.LISTS)
        for data, message in (
            (brick[:-1], "no dtarFOOT"),
            (brick[:100], "bytes long"),
            (put(40, b"?")(brick), "check does not match"),
            (t.brick(self.FRAMES, self.LISTS, header=number(48, 0)), "brick header.*epoch is 0"),
            (t.brick(self.FRAMES, self.LISTS, toc_clear=number(20, 0)), "TOC.*epoch is 0"),
            (t.brick(self.FRAMES, self.LISTS, header=put(52, b"\2")), "unknown class"),
            (t.brick(self.FRAMES, self.LISTS, header=put(52, b"\1")), "class is not"),
            (t.brick(self.FRAMES, self.LISTS, header=put(32, b"?")), "do not agree"),
            (t.brick(self.FRAMES, self.LISTS, footer=number(32, 7)), "footer says"),
            (t.brick(self.FRAMES, self.LISTS, footer=number(16, 99)), "TOC does not end"),
            (t.brick(self.FRAMES, self.LISTS, toc_clear=number(16, 33_554_433)), "sealed length"),
            (t.brick(self.FRAMES, self.LISTS, toc_clear=number(16, 40)), "behind the TOC"),
            (t.brick(self.FRAMES, self.LISTS, toc_clear=put(60, b"?")), "seal does not verify"),
            (t.brick(self.FRAMES, self.LISTS, toc_siv_of=lambda o: o + b"?"), "seal does not verify"),
            (t.brick((GOOD, GOOD[:-9]), (CHUNKS, CHUNKS)), "frames do not end"),
            (t.brick(self.FRAMES, self.LISTS, toc_opened=number(0, 0)), "number of frames"),
            (t.brick(self.FRAMES, self.LISTS, toc_opened=number(4, 5)), "chunks do not agree"),
            (t.brick(self.FRAMES, self.LISTS, toc_opened=put(8, b"\1")), "TOC and frames"),
            (t.brick(self.FRAMES[::-1], self.LISTS[::-1], toc_opened=lambda o: o + b"\xc8\0"), "200"),
        ):
            with self.assertRaisesRegex(FormatError, message):
                self.verify(data)
        with self.assertRaisesRegex(FormatError, "but the hash is"):
            self.verify(brick, name="0" * 64)
        with self.assertRaisesRegex(FormatError, "another key"):
            self.verify(brick, OTHER)

    def test_sidecar(self):
        table = t.toc(self.FRAMES, self.LISTS)
        side = t.sidecar(table, b"n" * 32)
        frames = open_sidecar(side, b"n" * 32, KEY).open(KEY)
        self.assertEqual([len(f[2]) for f in frames], [3, 1])
        with self.assertRaisesRegex(FormatError, "does not verify for this name"):
            open_sidecar(side, b"o" * 32, KEY)
        with self.assertRaisesRegex(FormatError, "behind|ends early"):
            Toc(side)


if __name__ == "__main__":
    unittest.main()
