"""Bricks, their tables of contents and sidecars: ../../brick.md."""

import os

import blake3

from .frame import (
    CHUNK_MAX,
    CHUNKS_MAX,
    HEADER_MAX,
    HEADER_MIN,
    PLAIN_MAX,
    SEALED_MAX,
    SEALED_MIN,
    FrameHeader,
)
from .keys import kdf, open_sealed
from .wire import FormatError, Reader

HEADER_LEN, TOC_CLEAR_LEN, FOOTER_LEN = 80, 88, 64
BRICK_MAX, FRAMES_MAX, BRICK_CHUNKS_MAX, TOC_SEALED_MAX = 2**40, 65_536, 262_144, 33_554_432
ORIGINS_MAX = 2**20


class BrickHeader:
    def __init__(self, data):
        r = Reader(data, "brick header")
        r.prefix(b"dtarBRIK")
        self.store_id, self.salt, self.epoch, self.class_ = r.take(16), r.take(16), r.u32(), r.u8()
        r.take(11)
        r.check(0)
        r.is_epoch(self.epoch)
        if self.class_ not in (0, 1):
            raise FormatError(f"brick header: unknown class {self.class_}")


class Toc:
    """The clear part of a TOC; `open` reads the sealed part."""

    def __init__(self, data):
        r = Reader(data, "TOC")
        r.prefix(b"dtarTOC1")
        self.sealed_len = r.u32()
        self.epoch, self.store_id, self.salt, self.siv = r.u32(), r.take(16), r.take(16), r.take(16)
        r.check(0)
        r.is_epoch(self.epoch)
        r.between(self.sealed_len, 16, TOC_SEALED_MAX, "sealed length")
        self.clear = bytes(r.view[:TOC_CLEAR_LEN])
        self.sealed = r.take(self.sealed_len)
        if r.left():
            r.fail("bytes behind the TOC")

    def open(self, key) -> list[tuple[int, int, list[tuple[bytes, int]]]]:
        """For each frame: its length, its plain length, and id and length of each chunk."""
        toc_key = kdf("toc key", key.put_secret(self.store_id, self.epoch))
        secret = (toc_key, self.salt)
        opened = open_sealed("toc", "brick toc key", secret, b"", self.siv, self.sealed, self.clear)
        if opened is None:
            raise FormatError("TOC: seal does not verify: damaged, or made with another key")
        r = Reader(opened, "TOC")
        count = r.between(r.u32(), 1, FRAMES_MAX, "number of frames")
        chunks = r.between(r.u32(), 1, BRICK_CHUNKS_MAX, "number of chunks")
        self.class_ = r.u8()
        r.between(self.class_, 0, 1, "class")
        r.take(3)
        self.writer = r.take(16)
        frames = [self._frame(r) for _ in range(count)]
        fields = r.fields({1: "origins"})
        self.origins = _origins(fields[1], count) if 1 in fields else [[]] * count
        if sum(len(f[2]) for f in frames) != chunks:
            r.fail("numbers of chunks do not agree")
        return frames

    @staticmethod
    def _frame(r: Reader):
        length = r.between(r.uv(), HEADER_MIN + SEALED_MIN, HEADER_MAX + SEALED_MAX, "frame length")
        plain = r.between(r.uv(), 0, PLAIN_MAX, "plain length")
        count = r.between(r.uv(), 1, CHUNKS_MAX, "number of chunks")
        chunks = [(r.take(16), r.between(r.uv(), 1, CHUNK_MAX, "chunk length")) for _ in range(count)]
        # Chunks, then a table of their lengths as uv (frame.md#content).
        if plain != sum(n + max(1, -(-n.bit_length() // 7)) for _, n in chunks):
            r.fail("plain length is not that of chunks and table")
        return length, plain, chunks


def _origins(data: bytes, frames: int) -> list[list[tuple[bytes, int]]]:
    """For each frame of a brick made by gc the places where it stood: ../../collection.md#rewriting."""
    r = Reader(data, "TOC, origins")
    bricks = [r.take(32) for _ in range(r.between(r.uv(), 1, min(r.left() // 32, ORIGINS_MAX), "number of old bricks"))]
    if any(one >= two for one, two in zip(bricks, bricks[1:])):
        r.fail("old bricks out of order")
    left, origins = ORIGINS_MAX, []
    for _ in range(frames):
        count = r.between(r.uv(), 0, min(left, r.left() // 2), "number of origins")
        left -= count
        places = []
        for _ in range(count):
            number = r.between(r.uv(), 0, len(bricks) - 1, "old brick")
            places.append((bricks[number], r.between(r.uv(), 0, FRAMES_MAX - 1, "place in the old brick")))
        if any(one >= two for one, two in zip(places, places[1:])):
            r.fail("origins out of order")
        origins.append(places)
    if r.left():
        r.fail("more bytes behind the origins")
    return origins


def open_sidecar(data: bytes, name: bytes, key) -> Toc:
    toc = Toc(data[:-32])
    sidecar_key = kdf("sidecar key", key.put_secret(toc.store_id, toc.epoch))
    if blake3.blake3(name + data[:-32], key=sidecar_key).digest() != data[-32:]:
        raise FormatError("sidecar: does not verify for this name")
    return toc


def _footer(data, size: int) -> tuple[int, int]:
    r = Reader(data, "brick footer")
    r.prefix(b"dtarFOOT")
    offset, length, brick_len = r.u64(), r.u64(), r.u64()
    r.take(8)
    r.check(0)
    if brick_len != size:
        raise FormatError(f"brick: {size} bytes long, but its footer says {brick_len}")
    if offset + length + FOOTER_LEN != brick_len or offset < HEADER_LEN:
        raise FormatError("brick footer: the TOC does not end where the footer begins")
    return offset, length


def _header_and_toc(f, size: int) -> tuple[BrickHeader, int, Toc]:
    header = BrickHeader(f.read(HEADER_LEN))
    f.seek(size - FOOTER_LEN)
    toc_at, toc_len = _footer(f.read(FOOTER_LEN), size)
    if toc_len > TOC_CLEAR_LEN + TOC_SEALED_MAX:
        raise FormatError("TOC: too long")
    f.seek(toc_at)
    toc = Toc(f.read(toc_len))
    if (toc.store_id, toc.salt, toc.epoch) != (header.store_id, header.salt, header.epoch):
        raise FormatError("brick: header and TOC do not agree")
    return header, toc_at, toc


def read_toc(path: str) -> Toc:
    """The TOC in a brick, for want of a sidecar."""
    size = os.path.getsize(path)
    if not HEADER_LEN + FOOTER_LEN <= size <= BRICK_MAX:
        raise FormatError(f"brick: {size} bytes long")
    with open(path, "rb") as f:
        return _header_and_toc(f, size)[2]


def verify_brick(path: str, key=None) -> str:
    """Name and structure of a brick, and its sealed TOC where a key is given."""
    stem = os.path.basename(path).removesuffix(".brick")
    hasher = blake3.blake3()
    hasher.update_mmap(path)
    name = hasher.hexdigest()
    if stem != name:
        raise FormatError(f"brick: name is {stem}, but the hash is {name}")
    size = os.path.getsize(path)
    if not HEADER_LEN + FOOTER_LEN <= size <= BRICK_MAX:
        raise FormatError(f"brick: {size} bytes long")
    with open(path, "rb") as f:
        header, toc_at, toc = _header_and_toc(f, size)
        lengths = _walk(f, header, toc_at)
    if key is not None:
        frames = toc.open(key)
        if toc.class_ != header.class_ or [n for n, _, _ in frames] != lengths:
            raise FormatError("brick: TOC and frames do not agree")
    return f"{name}: {len(lengths)} frames, {size} bytes"


def _walk(f, header: BrickHeader, toc_at: int) -> list[int]:
    lengths: list[int] = []
    at = HEADER_LEN
    while at < toc_at:
        f.seek(at)
        frame = FrameHeader(f.read(min(HEADER_MAX, toc_at - at)), f"frame {len(lengths)}")
        if frame.store_id != header.store_id or frame.class_ != header.class_:
            raise FormatError(f"frame {len(lengths)}: store or class is not the brick's")
        lengths.append(len(frame))
        at += len(frame)
    if at != toc_at or not 1 <= len(lengths) <= FRAMES_MAX:
        raise FormatError("brick: frames do not end where the TOC begins")
    return lengths
