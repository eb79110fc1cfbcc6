"""The sections SUMM, MAPS, BRIK, HINT and COPY: ../../index.md#trailer."""

from dataclasses import dataclass

from .body import LEVEL_MAX
from .brick import BRICK_MAX, FRAMES_MAX, HEADER_LEN
from .frame import HEADER_MAX, HEADER_MIN, PLAIN_MAX, SEALED_MAX, SEALED_MIN
from .wire import FormatError, Reader

PAGE_MAX = 65_536


class Summary:
    def __init__(self, view, start: int, end: int, trusted: bool = True):
        r = Reader(view, "SUMM", start, end)
        self.store_id, self.key_id, self.epoch = r.take(16), r.take(16), r.is_epoch(r.u32())
        if not trusted:
            return
        r.take(4)
        self.stream_len, self.stream_xxh3 = r.u64(), r.take(16)
        self.members_len, self.members = r.u64(), r.u64()
        r.fields({})


@dataclass(frozen=True)
class FramePlace:
    brick: bytes
    number: int
    offset: int
    length: int
    plain_len: int


def parse_bricks(r: Reader) -> tuple[list[bytes], list[FramePlace]]:
    """Names of the bricks, and the frames by ordinal."""
    names: list[bytes] = []
    frames: list[FramePlace] = []
    for _ in range(r.uv()):
        name = r.take(32)
        size = r.between(r.uv(), HEADER_LEN, BRICK_MAX, "length of the brick")
        number, end = -1, HEADER_LEN
        for _ in range(r.between(r.uv(), 1, FRAMES_MAX, "number of frames")):
            number = r.between(number + 1 + r.uv(), 0, FRAMES_MAX - 1, "frame number")
            offset = end + r.uv()
            length = r.between(r.uv(), HEADER_MIN + SEALED_MIN, HEADER_MAX + SEALED_MAX, "frame length")
            end = r.between(offset + length, 0, size, "end of the frame")
            plain = r.between(r.uv(), 0, PLAIN_MAX, "plain length")
            frames.append(FramePlace(name, number, offset, length, plain))
        names.append(name)
    if r.left():
        r.fail("bytes behind the last brick")
    if len(set(names)) != len(names):
        r.fail("a brick stands twice")
    return names, frames


def steps(r: Reader):
    """Each step of the map: blocks of the verbatim run, and kind."""
    while r.left():
        value = r.uv()
        if value % 4 == 3:
            r.fail("unknown kind of step 3")
        repeat = r.uv()
        if repeat == 0:
            r.fail("a step repeated no times")
        for _ in range(repeat):
            yield value // 4, value % 4


class Hints:
    """The places of the chunks of one level, or of the copies of its lists, in the order of use."""

    def __init__(self, view, name: str, start: int, end: int, frames: int):
        r = Reader(view, name, start, end)
        self.level = r.between(r.u8(), 0, LEVEL_MAX, "level")
        self.count = r.uv()
        self.what = f"{name} of level {self.level}"
        self.frames = frames
        self.pages = (view, r.pos, end)
        if sum(count for _, _, count in self.runs()) != self.count:
            raise FormatError(f"{self.what}: pages do not hold the stated number of chunks")

    def runs(self):
        """Each run: frame ordinal, place of the first chunk, number of chunks."""
        r = Reader(self.pages[0], self.what, *self.pages[1:])
        before = 0
        while r.left():
            length = r.between(r.u32(), 1, PAGE_MAX, "length of the runs")
            count, stated = r.u32(), r.u64()
            if stated != before:
                r.fail(f"page says {stated} chunks before it, but there are {before}")
            page = Reader(r.view, self.what, r.pos, r.pos + length)
            r.view_of(length)
            frame, held = 0, 0
            while page.left():
                zigzag = page.uv()
                frame += (zigzag >> 1) if zigzag % 2 == 0 else -(zigzag >> 1) - 1
                page.between(frame, 0, self.frames - 1, "frame ordinal")
                place = page.uv()
                chunks = page.between(page.uv(), 1, FRAMES_MAX, "number of chunks in a run")
                page.between(place + chunks, 1, FRAMES_MAX, "place of the last chunk")
                held += chunks
                yield frame, place, chunks
            if held != count:
                page.fail(f"page holds {held} chunks, not the stated {count}")
            before += count

    def places(self):
        """Frame ordinal and place of each chunk."""
        for frame, place, chunks in self.runs():
            for i in range(chunks):
                yield frame, place + i


def parse_hints(view, name: str, payloads: list[tuple[int, int]], frames: int) -> dict[int, Hints]:
    hints: dict[int, Hints] = {}
    for start, end in payloads:
        section = Hints(view, name, start, end, frames)
        if hints and section.level <= max(hints):
            raise FormatError(f"{section.what}: sections do not stand in the order of levels")
        hints[section.level] = section
    return hints


def parse_copies(view, payloads: list[tuple[int, int]], hints: dict[int, Hints], frames: int) -> dict[int, Hints]:
    copies = parse_hints(view, "COPY", payloads, frames)
    for level, section in copies.items():
        if level == 0:
            raise FormatError("COPY of level 0: only lists have copies")
        lists = hints[level].count if level in hints else 0
        if section.count != lists:
            raise FormatError(f"{section.what}: {section.count} copies of {lists} lists")
    return copies
