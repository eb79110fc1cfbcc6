"""Snapshots, and the roots that vouch for them: ../../snapshot.md, ../../store.md#roots."""

import os
import re

import blake3

from .body import BLOCK, CHUNK, LIST, RECORD_MAX, parse_items, parse_list
from .brick import HEADER_LEN, Toc, open_sidecar, read_toc
from .frame import Frame
from .keys import kdf, open_whole
from .wire import FormatError, Reader, blake3_256

BITMAP_MAX, STREAMS = 8192, 7
METADATA = 1


class Root:
    """What a finished run needs; `bricks` holds names and bitmaps of frames."""

    def __init__(self, data, key):
        self.store_id, content = open_whole(data, "root", key)
        self._content(content)

    def _content(self, r: Reader):
        self.time, self.writer, self.stream_len, _xxh3 = r.u64(), r.take(16), r.u64(), r.take(16)
        self.host = r.take(r.between(r.uv(), 0, 255, "length of the host name"))
        self.label = r.take(r.between(r.uv(), 0, 4096, "length of the label"))
        self.bricks: list[tuple[bytes, bytes]] = []
        for _ in range(r.between(r.uv(), 0, r.left(), "number of bricks")):
            name = r.take(32)
            bitmap = r.take(r.between(r.uv(), 1, BITMAP_MAX, "length of a bitmap"))
            if not bitmap[-1]:
                r.fail("a bitmap ends with zero")
            if self.bricks and self.bricks[-1][0] >= name:
                r.fail("bricks do not ascend")
            self.bricks.append((name, bitmap))
        fields = r.fields({1: "snapshot", 2: "stored"})
        self.snapshot = None
        if 1 in fields:
            f = Reader(fields[1], "root, snapshot")
            self.snapshot = f.take(32), f.uv()
            if f.left():
                f.fail("bytes behind the length of the index")
        if 2 in fields:
            f = Reader(fields[2], "root, stored")
            f.uv(), f.uv()
            if f.left():
                f.fail("bytes behind the second number")


class Snapshot:
    """A snapshot file: `streams` holds the length and the items of each."""

    def __init__(self, data, key, store_id: bytes):
        frame = Frame(data, key, "snapshot", store_id)
        if frame.header.class_ != METADATA:
            raise FormatError("snapshot: a frame of class data")
        if len(frame) != 1:
            raise FormatError(f"snapshot: a frame of {len(frame)} chunks")
        r = Reader(frame.chunk(0), "snapshot")
        r.prefix(b"dtarSNAP")
        self.time, self.writer, self.index_len = r.u64(), r.take(16), r.u64()
        self.streams = [self._stream(r) for _ in range(STREAMS)]
        r.fields({})

    @staticmethod
    def _stream(r: Reader):
        length, items = r.uv(), parse_items(r)
        _check_kinds(items, r)
        if sum(item.covers for item in items) != length:
            r.fail("items do not add up to the length of their stream")
        return length, items


def _check_kinds(items, r: Reader):
    if any(item.kind not in (CHUNK, LIST) for item in items):
        r.fail("an item that is neither chunk nor list")


class Store:
    """The folder of a store: metadata bricks and their tables of contents."""

    def __init__(self, directory: str, key, root: Root):
        self.directory, self.key, self.store_id = directory, key, root.store_id
        # Chunk id -> brick's path, where the frame is, how long, place of the chunk.
        self.places: dict[bytes, tuple[str, int, int, int]] = {}
        self.id_key = None
        for name, bitmap in root.bricks:
            path = self._path("meta", name, "brick")
            if os.path.exists(path):
                self._add(path, self._toc(name, path), bitmap)
        self.open = (None, None)

    def _path(self, folder: str, name: bytes, ending: str) -> str:
        return os.path.join(self.directory, folder, name.hex()[:2], f"{name.hex()}.{ending}")

    def _toc(self, name: bytes, path: str) -> Toc:
        try:
            with open(self._path("tocs", name, "toc"), "rb") as f:
                return open_sidecar(f.read(), name, self.key)
        except FileNotFoundError:
            return read_toc(path)

    def _add(self, path: str, toc: Toc, bitmap: bytes):
        if toc.store_id != self.store_id:
            raise FormatError(f"{path}: TOC of another store")
        at = HEADER_LEN
        self.id_key = kdf("metadata id key", self.key.put_secret(toc.store_id, toc.epoch))
        for number, (length, _plain, chunks) in enumerate(toc.open(self.key)):
            if number // 8 < len(bitmap) and bitmap[number // 8] >> number % 8 & 1:
                for place, (name, _) in enumerate(chunks):
                    self.places[name] = (path, at, length, place)
            at += length

    def chunk(self, item) -> bytes:
        name = blake3.blake3(item.hash, key=self.id_key or bytes(32)).digest()[:16]
        if name not in self.places:
            raise FormatError(f"incomplete snapshot: chunk {item.hash.hex()} is in no brick of its run")
        path, at, length, place = self.places[name]
        if self.open[0] != (path, at):
            with open(path, "rb") as f:
                f.seek(at)
                frame = Frame(f.read(length), self.key, f"{path}, frame at {at}", self.store_id)
            if frame.header.class_ != METADATA:
                raise FormatError(f"{path}: a frame of class data")
            self.open = (path, at), frame
        frame = self.open[1]
        data = frame.chunk(place) if place < len(frame) else b""
        if len(data) != item.length or blake3_256(data) != item.hash:
            raise FormatError(f"{path}: chunk {place} of the frame at {at} is not {item.hash.hex()}")
        return data

    def stream(self, items) -> bytes:
        out = bytearray()
        for item in items:
            data = self.chunk(item)
            if item.kind == LIST:
                below = parse_list(data, item, "list of a snapshot")
                _check_kinds(below, Reader(data, "list of a snapshot"))
                data = self.stream(below)
            out += data
        return bytes(out)


def _header(headers: Reader, times: Reader) -> bytes:
    most = headers.take(492)
    block = bytearray(most[:136] + times.take(12) + b" " * 8 + most[136:])
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _record(records: Reader) -> bytes:
    head = records.take(20)
    length = int.from_bytes(head[16:], "little")
    records.between(length, 20, RECORD_MAX, "length of a record")
    return head + records.take(length - 20) + bytes(-length % BLOCK)


_TIME = re.compile(rb" (m|a|c)time=([0-9.]*)")


def _blocks(data: bytes, digits: dict[bytes, Reader]) -> bytes:
    """Whole blocks of stream 4, or its end, with the digits of times in pax records put back."""

    def filled(match):
        value = bytearray(match[2])
        for at, byte in enumerate(value):
            if byte != ord("."):
                value[at] = digits[match[1]].between(digits[match[1]].u8(), 48, 57, "digit of a time")
        return match[0][:7] + value

    return b"".join(_TIME.sub(filled, data[at : at + BLOCK]) for at in range(0, len(data), BLOCK))


def join(streams: list[bytes], length: int) -> bytes:
    """The index of `length` bytes of which these are the streams."""
    readers = [Reader(data, f"snapshot, stream {number}") for number, data in enumerate(streams)]
    steps, headers, times, records, blocks, accesses, changes = readers
    digits = {b"m": times, b"a": accesses, b"c": changes}
    out = bytearray()
    while steps.left():
        count, v, repeat = steps.uv(), steps.uv(), steps.uv()
        if not repeat or not (count or v):
            steps.fail("an empty step")
        for _ in range(repeat):
            out += _blocks(blocks.take(count * BLOCK), digits)
            for _ in range(v // 2):
                out += _header(headers, times)
            if v % 2:
                out += _record(records)
    out += _blocks(blocks.take(blocks.left()), digits)
    for reader in readers:
        if reader.left():
            reader.fail("bytes that no step uses")
    if len(out) != length:
        raise FormatError(f"snapshot: streams yield {len(out)} bytes, {length} are stated")
    return bytes(out)


def read_snapshot(path: str, key) -> memoryview:
    """The index of the snapshot file at `path`, which lies in a store. Its seal is not verified yet."""
    folder, name = os.path.split(os.path.abspath(path))
    match = re.fullmatch(r"([0-9]{20})-[0-9a-f]{16}\.snap", name)
    if not match:
        raise FormatError(f"{path}: not the name of a snapshot")
    directory = os.path.dirname(folder)
    with open(os.path.join(directory, "roots", name.removesuffix("snap") + "root"), "rb") as f:
        root = Root(f.read(), key)
    with open(path, "rb") as f:
        data = f.read()
    if root.time != int(match[1]):
        raise FormatError("root: its time is not the one in its name")
    if root.snapshot is None or root.snapshot[0] != blake3_256(data):
        raise FormatError("snapshot: its hash is not the one in the root")
    snapshot = Snapshot(data, key, root.store_id)
    if (snapshot.time, snapshot.writer, snapshot.index_len) != (root.time, root.writer, root.snapshot[1]):
        raise FormatError("snapshot: time, writer or length are not those in the root")
    store = Store(directory, key, root)
    streams = [store.stream(items) for _, items in snapshot.streams]
    return memoryview(join(streams, snapshot.index_len))
