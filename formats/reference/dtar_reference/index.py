"""The index file, its trailer and sections: ../../index.md."""

import mmap
import os
import struct
import tempfile

import blake3
import zstandard

from .frame import WINDOW_MAX
from .keys import kdf
from .sections import Summary, parse_bricks, parse_copies, parse_hints
from .wire import FormatError, Reader, UnknownVersion

END_LEN, SEAL_LEN, ZERO_BLOCKS = 64, 32, 1024
TRAILER_MIN = 24 + 16 + SEAL_LEN
REQUIRED = (b"SUMM", b"RECS", b"MAPS", b"BRIK")
_ZSTD = b"\x28\xb5\x2f\xfd"


def _map(f) -> memoryview:
    size = os.fstat(f.fileno()).st_size
    if size == 0:
        raise FormatError("not a dtar index: empty")
    return memoryview(mmap.mmap(f.fileno(), size, access=mmap.ACCESS_READ))


def _decompressed(source: memoryview) -> memoryview:
    with tempfile.TemporaryFile() as out:
        at = 0
        while at < len(source):
            engine = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX).decompressobj()
            while not engine.eof:
                if at >= len(source):
                    raise FormatError("incomplete index: the zstd frame ends early")
                piece = source[at : at + 65_536]
                try:
                    out.write(engine.decompress(piece))
                except zstandard.ZstdError as e:
                    raise FormatError(f"damaged index: {e}") from e
                at += len(piece) - len(engine.unused_data)
        out.flush()
        return _map(out)


def read_index(path: str) -> memoryview:
    """The uncompressed index."""
    with open(path, "rb") as f:
        view = _map(f)
    if view[:4] == _ZSTD and not _ends_as_index(view):
        return _decompressed(view)
    return view


def _ends_as_index(view: memoryview) -> bool:
    last = view[-END_LEN:]
    return len(last) == END_LEN and last[:8] == b"dtarIEND" and last[32:40] == struct.pack("<Q", len(view))


def _no_end(view: memoryview):
    for at in range(0, len(view) - 15, 512):
        if view[at : at + 8] in (b"dtarBODY", b"dtarOPAQ"):
            raise FormatError("incomplete index: the run that wrote it was interrupted, or it was cut")
    raise FormatError("not a dtar index")


class Index:
    """An index whose seal is good and whose sections are consistent among themselves."""

    def __init__(self, view: memoryview, key):
        self.view = view
        self._end()
        sections = self._sections()
        if b"SUMM" not in sections:
            raise FormatError("index: no section SUMM")
        # Key and epoch must be known before the seal can be verified, so they are read first; a
        # wrong epoch gives a wrong key, and the seal does not verify.
        claimed = Summary(view, *sections[b"SUMM"][0], trusted=False)
        if claimed.key_id != key.key_id:
            raise FormatError(f"wrong key: made with key {claimed.key_id.hex()}, this one is {key.key_id.hex()}")
        self._verify_seal(kdf("index key", key.put_secret(claimed.store_id, claimed.epoch)))
        for name in REQUIRED:
            if name not in sections:
                raise FormatError(f"index: no section {name.decode()}")
        self.summary = Summary(view, *sections[b"SUMM"][0])
        self._layout()
        self.records = sections[b"RECS"][0]
        self.maps = sections[b"MAPS"][0]
        self.bricks, self.frames = parse_bricks(Reader(view, "BRIK", *sections[b"BRIK"][0]))
        self.hints = parse_hints(view, "HINT", sections.get(b"HINT", []), len(self.frames))
        self.copies = parse_copies(view, sections.get(b"COPY", []), self.hints, len(self.frames))

    def _end(self):
        view = self.view
        if len(view) < END_LEN or view[-END_LEN:][:8] != b"dtarIEND":
            _no_end(view)
        r = Reader(view, "index end", len(view) - END_LEN)
        r.prefix(b"dtarIEND")
        self.trailer, self.trailer_len, length = r.u64(), r.u64(), r.u64()
        reserved = r.u64()
        try:
            r.check(len(view) - END_LEN)
        except FormatError as e:
            raise FormatError("damaged index: the check of its end does not match") from e
        if reserved:
            raise FormatError("damaged index: reserved bytes of its end are not zero")
        if length != len(view) or length % 512 or self.trailer + self.trailer_len + END_LEN != length:
            raise FormatError("damaged index: offset and lengths in its end do not agree")
        if self.trailer % 512 or self.trailer_len < TRAILER_MIN:
            raise FormatError("damaged index: no trailer can stand where its end says")

    def _sections(self) -> dict[bytes, list[tuple[int, int]]]:
        seal_at = len(self.view) - END_LEN - SEAL_LEN
        r = Reader(self.view, "index trailer", self.trailer, seal_at)
        r.prefix(b"dtarTRLR")
        if r.u64() != self.trailer:
            raise FormatError("damaged index: the trailer is not where it says")
        known = {*REQUIRED, b"HINT", b"COPY"}
        sections: dict[bytes, list[tuple[int, int]]] = {}
        while True:
            name, flags, length = r.take(4), r.u32(), r.u64()
            r.view_of(length)
            if name == b"DONE":
                if length:
                    r.fail("DONE has a payload")
                break
            if name in known:
                if name in sections and name in REQUIRED:
                    r.fail(f"section {name!r} stands twice")
                sections.setdefault(name, []).append((r.pos - length, r.pos))
            elif flags & 1:
                raise UnknownVersion(f"index: unknown critical section {name!r}")
        if r.left() >= 512:
            r.fail("too many bytes behind the sections")
        r.zeros_to_end("padding")
        return sections

    def _verify_seal(self, key: bytes):
        seal_at = len(self.view) - END_LEN - SEAL_LEN
        hasher = blake3.blake3(key=key)
        for at in range(0, seal_at, 1 << 20):
            hasher.update(self.view[at : min(at + (1 << 20), seal_at)])
        hasher.update(self.view[-END_LEN:])
        if hasher.digest() != bytes(self.view[seal_at : seal_at + SEAL_LEN]):
            raise FormatError("index altered (or made with another key): its seal does not verify")

    def _layout(self):
        members = self.summary.members_len
        if members % 512 or members + ZERO_BLOCKS != self.trailer:
            raise FormatError("index: two zero blocks do not fill the gap from members to trailer")
        Reader(self.view, "zero blocks", members, self.trailer).zeros_to_end("a byte")
