"""Keys, encapsulation and wire rules: each MUST of keys.md and README.md broken once."""

import os
import struct
import tempfile
import unittest
from pathlib import Path

import testkit as t
from dtar_reference.kem import XWingKey
from dtar_reference.keys import MasterKey, PutKey, load_key, parse_key
from dtar_reference.wire import FormatError, Reader

SECRET = t.bech32m("dtar-secret-key-", t.MASTER)
STORE, OTHER = b"s" * 16, b"t" * 16


def put_data(epoch=3) -> bytes:
    return STORE + struct.pack("<I", epoch) + b"p" * 32 + b"g" * 32 + b"h" * 32 + b"r" * 32


PUT = t.bech32m("dtar-put-key-", put_data())


class Wire(unittest.TestCase):
    def test_numbers(self):
        for n in (0, 1, 127, 128, 2**32, 2**63, 2**64 - 1):
            self.assertEqual(Reader(t.uv(n), "n").uv(), n)
        for bad in (b"\x80\x00", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\x80", b""):
            with self.assertRaises(FormatError, msg=bad):
                Reader(bad, "n").uv()

    def test_prefix_errors_differ_and_keep_their_order(self):
        Reader(t.prefix(b"dtarBRIK", compatible=0xFFFF), "x").prefix(b"dtarBRIK")
        for data, message in (
            (t.prefix(b"dtarFOOT", 2, 0, 1), "no dtarBRIK"),
            (t.prefix(b"dtarBRIK", 2, 0, 1), "newer dtar"),
            (t.prefix(b"dtarBRIK", 0), "newer dtar|version 0"),
            (t.prefix(b"dtarBRIK", 1, 0, 4), "bit 2"),
        ):
            with self.assertRaisesRegex(FormatError, message):
                Reader(data, "x").prefix(b"dtarBRIK")

    def test_fields(self):
        good = t.field(5, b"skipped") + t.field(128, b"known")
        self.assertEqual(Reader(good, "x").fields({128: "name"}), {128: b"known"})
        for bad, message in (
            (t.field(129, b""), "unknown critical field 129"),
            (t.field(5, b"") * 2, "stands twice"),
            (t.field(128, b"") * 2, "stands twice"),
            (b"\x05\x02a", "ends early"),
        ):
            with self.assertRaisesRegex(FormatError, message):
                Reader(bad, "x").fields({128: "name"})


class KeyFiles(unittest.TestCase):
    def test_kinds(self):
        for text in (SECRET, SECRET.upper(), f"# c\n\n{SECRET}\n", f"{SECRET}\r\n"):
            self.assertEqual(parse_key(text.encode()).master, t.MASTER)
        put = parse_key(PUT.encode())
        self.assertEqual((put.epoch, put.put_secret(STORE, 3)), (3, b"p" * 32))
        self.assertEqual((put.gear_key, put.key_id), (b"g" * 32, b"h" * 16))
        with self.assertRaisesRegex(FormatError, "epoch 4 is needed"):
            put.put_secret(STORE, 4)
        with self.assertRaisesRegex(FormatError, f"put key of store {STORE.hex()}"):
            put.put_secret(OTHER, 3)
        self.assertIsInstance(parse_key(t.locked().encode(), b"open"), MasterKey)
        self.assertIsInstance(parse_key(t.locked(2, put_data()).encode(), b"open"), PutKey)

    def test_refusals(self):
        changed = SECRET[:-1] + ("q" if SECRET[-1] != "q" else "p")
        for text, message in (
            (SECRET[:-3] + SECRET[-3:].upper() + "Q", "mixed"),
            (changed, "bad checksum"),
            (t.bech32m("dtar-secret-key-", t.MASTER, 1), "bad checksum"),
            (t.bech32m("dtar-other-key-", t.MASTER), "unknown kind"),
            (t.bech32m("dtar-public-key-", bytes(1216)), "public key"),
            (t.bech32m("dtar-secret-key-", bytes(31)), "wrong length"),
            (t.bech32m("dtar-put-key-", bytes(115)), "wrong length"),
            (t.bech32m("dtar-put-key-", bytes(117)), "wrong length"),
            (t.bech32m("dtar-put-key-", put_data(0)), "epoch"),
            (t.locked(2, bytes(115)), "wrong length"),
            (t.locked(2, put_data(0)), "epoch"),
            (f"{SECRET}\n{SECRET}", "2 key lines"),
            ("# only a comment\n", "0 key lines"),
            (f"{SECRET}\n" + "#" * 16384, "16 KiB"),
            (t.locked(secret=bytes(33)), "wrong length"),
            (t.locked(function=2), "unknown KDF 2"),
            (t.locked(inside=3), "unknown content 3"),
            (t.locked(memory=7), "memory"),
            (t.locked(memory=4_194_305), "memory"),
            (t.locked(passes=0), "passes"),
            (t.locked(passes=65), "passes"),
            (t.locked(lanes=17), "lanes"),
            (t.locked(memory=15, lanes=2), "8 times"),
            (t.locked(passes=2), "wrong passphrase"),
            (t.locked(passphrase=b"other"), None),
        ):
            with self.assertRaisesRegex(FormatError, message or ".", msg=text[:40]):
                parse_key(text.encode(), b"open" if message else b"wrong")
        with self.assertRaisesRegex(FormatError, "passphrase is needed"):
            parse_key(t.locked().encode())

    def test_mode(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "key")
            path.write_text(SECRET)
            path.chmod(0o640)
            with self.assertRaisesRegex(FormatError, "0640.*chmod 600"):
                load_key(os.fspath(path))
            path.chmod(0o600)
            self.assertEqual(load_key(os.fspath(path)).master, t.MASTER)


class Encapsulation(unittest.TestCase):
    def test_xwing_vector(self):
        vector: dict[str, bytes] = {}
        for line in Path(__file__).with_name("xwing.txt").read_text().splitlines():
            if not line.startswith("#"):
                name, value = line.split(": ")
                vector[name] = vector.get(name, b"") + bytes.fromhex(value)
        key = XWingKey(vector["seed"])
        self.assertTrue(key.public.startswith(vector["public-begin"]))
        self.assertTrue(key.public.endswith(vector["public-end"]))
        self.assertEqual(len(key.public), 1216)
        self.assertEqual(key.decapsulate(vector["ct"]), vector["ss"])


if __name__ == "__main__":
    unittest.main()
