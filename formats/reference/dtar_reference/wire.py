"""Numbers, prefix, fields and check: ../../README.md#conventions."""

import struct

import blake3

U64_MAX = 2**64 - 1


class FormatError(Exception):
    """Bytes that a page says a reader MUST refuse."""


class UnknownVersion(FormatError):
    """A newer major version, or an incompatible bit that is not known."""


def blake3_256(data) -> bytes:
    return blake3.blake3(data).digest()


class Reader:
    """Reads a structure from front to back and never past its end."""

    def __init__(self, data, what: str, start: int = 0, end: int | None = None):
        self.view = memoryview(data)
        self.what = what
        self.pos = start
        self.end = len(self.view) if end is None else end

    def fail(self, why: str):
        raise FormatError(f"{self.what}, byte {self.pos}: {why}")

    def left(self) -> int:
        return self.end - self.pos

    def view_of(self, n: int) -> memoryview:
        if n > self.left():
            self.fail(f"ends early: {n} bytes wanted, {self.left()} there")
        self.pos += n
        return self.view[self.pos - n : self.pos]

    def take(self, n: int) -> bytes:
        return bytes(self.view_of(n))

    def u8(self) -> int:
        return self.view_of(1)[0]

    def u16(self) -> int:
        return struct.unpack("<H", self.view_of(2))[0]

    def u32(self) -> int:
        return struct.unpack("<I", self.view_of(4))[0]

    def u64(self) -> int:
        return struct.unpack("<Q", self.view_of(8))[0]

    def uv(self) -> int:
        value = 0
        for i in range(10):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                if i > 0 and byte == 0:
                    self.fail("number not in its shortest form")
                if value > U64_MAX:
                    self.fail("number does not fit 64 bits")
                return value
        self.fail("number does not fit 64 bits")

    def between(self, value: int, low: int, high: int, name: str) -> int:
        if not low <= value <= high:
            self.fail(f"{name} is {value}, allowed are {low} to {high}")
        return value

    def is_epoch(self, value: int) -> int:
        return self.between(value, 1, 2**32 - 1, "epoch")

    def prefix(self, magic: bytes):
        found = self.take(8)
        if found != magic:
            self.fail(f"no {magic.decode()} here (found {found!r})")
        major, _compatible, incompatible = self.u16(), self.u16(), self.u32()
        if major != 1:
            raise UnknownVersion(f"{self.what}: version {major}, written by a newer dtar")
        if incompatible:
            bit = incompatible.bit_length() - 1
            raise UnknownVersion(f"{self.what}: unknown incompatible feature bit {bit}")

    def check(self, start: int):
        """The check over all bytes from `start` to here."""
        at = self.pos
        if self.take(16) != blake3_256(self.view[start:at])[:16]:
            self.fail("check does not match: damaged")

    def fields(self, known: dict[int, str]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        seen = set()
        while self.left():
            tag = self.u8()
            if tag in seen:
                self.fail(f"field {tag} stands twice")
            seen.add(tag)
            value = self.take(self.uv())
            if tag in known:
                found[tag] = value
            elif tag >= 128:
                raise UnknownVersion(f"{self.what}: unknown critical field {tag}")
        return found

    def zeros_to_end(self, name: str):
        while self.left():
            if any(self.view_of(min(self.left(), 1 << 16))):
                self.fail(f"{name} is not zero")
