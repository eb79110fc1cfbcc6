"""From index and bricks to the stream: ../../index.md#maps."""

import os
import sys
from collections import Counter, OrderedDict

import blake3
import xxhash

from .body import (
    BLOCK,
    LIST,
    MEMBER,
    OPAQUE,
    TAIL,
    ZEROS,
    corrected,
    count_chunks,
    parse_list,
    parse_record,
    reach,
)
from .frame import Frame
from .index import Index
from .moved import Moved
from .sections import steps
from .wire import FormatError, Reader, blake3_256

IN_PLACE, FROM_RECS, AT_MARKER = 0, 1, 2
_PIECE = 1 << 20
_INVERTED = bytes(255 - b for b in range(256))
_CACHE = 256 << 20  # plain bytes of the frames that are kept open


class Frames:
    """Opens frames by ordinal and keeps the latest."""

    def __init__(self, index: Index, key, directories: list[str]):
        self.index, self.key, self.directories = index, key, directories
        self.cache: OrderedDict[int, Frame] = OrderedDict()
        self.moved = Moved(directories, key, index.summary.store_id)

    def _path(self, brick: bytes) -> str | None:
        name = brick.hex()
        for directory in self.directories:
            for parts in ((), (name[:2],), ("bricks", name[:2]), ("meta", name[:2])):
                path = os.path.join(directory, *parts, f"{name}.brick")
                if os.path.exists(path):
                    return path
        return None

    def _read(self, place) -> Frame:
        """The frame where the index says, or where gc has moved it."""
        places = [(place.brick, place.offset, place.length)]
        if self._path(place.brick) is None:
            places = self.moved.places_of(place.brick, place.number)
        for brick, offset, length in places:
            path = self._path(brick)
            if path is not None:
                with open(path, "rb") as f:
                    f.seek(offset)
                    data = f.read(length)
                what = f"brick {place.brick.hex()}, frame {place.number}"
                return Frame(data, self.key, what, self.index.summary.store_id)
        raise FormatError(f"brick {place.brick.hex()} is missing, and nothing stands in for its frame {place.number}")

    def get(self, ordinal: int) -> Frame:
        if ordinal in self.cache:
            self.cache.move_to_end(ordinal)
            return self.cache[ordinal]
        place = self.index.frames[ordinal]
        what = f"brick {place.brick.hex()}, frame {place.number}"
        frame = self._read(place)
        if frame.plain_len != place.plain_len:
            raise FormatError(f"{what}: plain length is not that of the index")
        self.cache[ordinal] = frame
        while len(self.cache) > 1 and sum(f.plain_len for f in self.cache.values()) > _CACHE:
            self.cache.popitem(last=False)
        return frame


class Restorer:
    def __init__(self, index: Index, key, directories: list[str]):
        self.index, self.view = index, index.view
        self.frames = Frames(index, key, directories)
        self._plan()
        self.places = {level: hints.places() for level, hints in index.hints.items()}
        self.copies = {level: copies.places() for level, copies in index.copies.items()}

    def _steps(self):
        """Each step: start and end of its run, its record."""
        members = self.index.summary.members_len
        at, (recs, recs_end) = 0, self.index.records
        for blocks, kind in steps(Reader(self.view, "MAPS", *self.index.maps)):
            start, at = at, at + blocks * BLOCK
            if at > members:
                raise FormatError("MAPS: steps run past the members part")
            end = at
            if kind == IN_PLACE:
                record, record_end = parse_record(self.view, at, members)
                at += -(-(record_end - at) // BLOCK) * BLOCK
                if at > members:
                    raise FormatError("MAPS: steps run past the members part")
                Reader(self.view, record.what, record_end, at).zeros_to_end("padding")
            else:
                if kind == AT_MARKER:
                    self._marker(at, members)
                    at += BLOCK
                record, recs = parse_record(self.view, recs, recs_end)
            unmarked = record.kind == OPAQUE and kind != AT_MARKER
            if unmarked and (kind != FROM_RECS or record.body_len) or record.kind == MEMBER and kind == AT_MARKER:
                raise FormatError(f"MAPS: step of kind {kind} with a record of kind {record.kind}")
            if record.kind == TAIL and kind != FROM_RECS:
                raise FormatError(f"MAPS: step of kind {kind} with a record of kind {record.kind}")
            yield start, end, record
        if at != members or recs != recs_end:
            raise FormatError("MAPS: steps do not add up to the members part and RECS")

    def _marker(self, at: int, members: int):
        r = Reader(self.view, f"opaque marker at {at}", at, members)
        r.prefix(b"dtarOPAQ")
        if r.take(BLOCK - 16) != b"\xff" * (BLOCK - 16):
            r.fail("bytes other than 0xff")

    def _plan(self):
        """Walks all steps, so that nothing is emitted from an index that is not consistent."""
        summary, length, members, chunks, tail = self.index.summary, 0, 0, Counter(), False
        for start, end, record in self._steps():
            if tail:
                raise FormatError("MAPS: a step stands behind the tail")
            tail = record.kind == TAIL
            if reach(record) > end - start:
                raise FormatError(f"{record.what}: patch or form reaches beyond its run")
            length += end - start + record.body_len + len(record.padding)
            members += record.kind == MEMBER
            chunks += count_chunks(record.items)
        if not tail:
            raise FormatError("MAPS: the last step is not the tail")
        if length != summary.stream_len:
            raise FormatError(f"SUMM: stream of {summary.stream_len} bytes, but steps yield {length}")
        if members != summary.members:
            raise FormatError(f"SUMM: {summary.members} members, but steps hold {members}")
        if +chunks != Counter({level: h.count for level, h in self.index.hints.items()}):
            raise FormatError("HINT: not one place for each chunk that the records need")

    def _stored(self, ordinal: int, place: int, what: str) -> tuple[Frame, bytes]:
        frame = self.frames.get(ordinal)
        if place >= len(frame):
            raise FormatError(f"{what}: hint to chunk {place} of a frame of {len(frame)}")
        return frame, frame.chunk(place)

    def _list(self, item, what: str) -> bytes:
        copy = next(self.copies[item.level]) if item.level in self.copies else None
        try:
            return self._chunk(item, what)
        except FormatError as e:
            if copy is None:
                raise
            frame, data = self._stored(*copy, what)
            data = data.translate(_INVERTED)
            if len(data) != item.length or blake3_256(data) != item.hash:
                raise FormatError(f"{what}: chunk {copy[1]} of {frame.header.what} is no copy of {item.hash.hex()}") from e
            print(f"{e}: a list was read from its copy, nothing is lost by this", file=sys.stderr)
            return data

    def _chunk(self, item, what: str) -> bytes:
        ordinal, place = next(self.places[item.level])
        frame, data = self._stored(ordinal, place, what)
        if len(data) != item.length or blake3_256(data) != item.hash:
            raise FormatError(f"{what}: chunk {place} of {frame.header.what} is not {item.hash.hex()}")
        return data

    def _items(self, items, what: str):
        for item in items:
            if item.kind == ZEROS:
                for at in range(0, item.covers, _PIECE):
                    yield bytes(min(_PIECE, item.covers - at))
            elif item.kind == LIST:
                data = self._list(item, what)
                yield from self._items(parse_list(data, item, f"{what}, list"), what)
            else:
                yield self._chunk(item, what)

    def _pieces(self):
        for start, end, record in self._steps():
            patched = end - reach(record)
            for at in range(start, patched, _PIECE):
                yield self.view[at : min(at + _PIECE, patched)]
            yield corrected(record, bytes(self.view[patched:end]))
            body = blake3.blake3()
            for piece in self._items(record.items, record.what):
                body.update(piece)
                yield piece
            if body.digest() != record.hash:
                raise FormatError(f"{record.what}: hash of the body is not that of the record")
            yield record.padding

    def restore(self, out):
        stream = xxhash.xxh3_128()
        for piece in self._pieces():
            stream.update(piece)
            out.write(piece)
        out.flush()
        if stream.intdigest().to_bytes(16, "little") != self.index.summary.stream_xxh3:
            raise FormatError("SUMM: XXH3-128 of the stream does not match")
