"""Body records, items, lists and patches: ../../index.md#body-record."""

from collections import Counter
from dataclasses import dataclass

from .frame import CHUNK_MAX
from .wire import U64_MAX, FormatError, Reader

BLOCK = 512
RECORD_MAX, ITEMS_MAX, LEVEL_MAX, PATCH_REACH_MAX = 1_048_576, 65_536, 7, 33_554_432
MEMBER, OPAQUE, TAIL = 0, 1, 2
WHOLE, CHUNK, LIST, ZEROS = 0, 1, 2, 3
SIZE_FORMS = {1: (11, b"\0"), 2: (11, b" "), 3: (12, b"")}
CHECKSUM_FORMS = {1: (6, b"\0 "), 2: (6, b" \0"), 3: (7, b"\0"), 4: (7, b" ")}


@dataclass
class Item:
    kind: int
    covers: int  # bytes of the body
    hash: bytes = b""
    length: int = 0  # of the chunk
    level: int = 0
    below: tuple[int, ...] = ()


def _item(r: Reader) -> Item:
    kind = r.u8()
    match kind:
        case 0:
            return Item(WHOLE, 0)
        case 1:
            length = r.between(r.uv(), 1, CHUNK_MAX, "chunk length")
            return Item(CHUNK, length, r.take(32), length)
        case 2:
            level = r.between(r.u8(), 1, LEVEL_MAX, "level")
            length = r.between(r.uv(), 1, CHUNK_MAX, "length of the list")
            digest, covers = r.take(32), r.between(r.uv(), 1, U64_MAX, "bytes covered")
            return Item(LIST, covers, digest, length, level, tuple(r.uv() for _ in range(level)))
        case 3:
            return Item(ZEROS, r.between(r.uv(), 1, U64_MAX, "zero run"))
    raise FormatError(f"{r.what}: unknown item kind {kind}")


def parse_items(r: Reader) -> list[Item]:
    return [_item(r) for _ in range(r.between(r.uv(), 0, ITEMS_MAX, "number of items"))]


def count_chunks(items: list[Item]) -> Counter:
    """How many chunks of each level the items say that they need."""
    counts: Counter = Counter()
    for item in items:
        if item.kind != ZEROS:
            counts[item.level] += 1
            counts.update(dict(enumerate(item.below)))
    return counts


def parse_list(data: bytes, stated: Item, what: str) -> list[Item]:
    """The items of a list chunk, which hold to what its list item states."""
    r = Reader(data, what)
    items = []
    while r.left():
        if len(items) == ITEMS_MAX:
            r.fail(f"more than {ITEMS_MAX} items in a list")
        item = _item(r)
        if item.kind == WHOLE:
            r.fail("whole body inside a list")
        if item.kind == LIST and item.level >= stated.level:
            r.fail(f"list of level {item.level} inside one of level {stated.level}")
        items.append(item)
    if stated.level > 1 and not any(i.kind == LIST and i.level == stated.level - 1 for i in items):
        r.fail(f"no list of level {stated.level - 1} inside")
    if sum(i.covers for i in items) != stated.covers:
        r.fail("does not cover the stated number of bytes")
    counts = count_chunks(items)
    if tuple(counts[level] for level in range(stated.level)) != stated.below:
        r.fail("does not hold the stated numbers of chunks")
    return items


@dataclass
class Record:
    kind: int
    size_form: int
    checksum_form: int
    body_len: int
    hash: bytes
    items: list[Item]
    patches: list[tuple[int, bytes]]
    padding: bytes
    declared: int | None
    what: str


def parse_record(data, start: int, end: int) -> tuple[Record, int]:
    """The record at `start`, and where it ends."""
    what = f"record at {start}"
    r = Reader(data, what, start, end)
    r.prefix(b"dtarBODY")
    length = r.between(r.u32(), 20, RECORD_MAX, "length of the record")
    if start + length > end:
        r.fail("record ends early")
    r.end = start + length
    kind, size_form, checksum_form = r.u8(), r.u8(), r.u8()
    r.u8()
    for name, value, top in (
        ("kind", kind, 2), ("size form", size_form, 3), ("checksum form", checksum_form, 4),
    ):
        if value > top:
            raise FormatError(f"{what}: unknown {name} {value}")
    body_len, digest = r.uv(), r.take(32)
    items = parse_items(r)
    if any(i.kind == WHOLE for i in items):
        if len(items) != 1:
            r.fail("whole body beside other items")
        r.between(body_len, 1, CHUNK_MAX, "length of a whole body")
        items = [Item(CHUNK, body_len, digest, body_len)]
    if sum(i.covers for i in items) != body_len:
        r.fail("items do not add up to the body length")
    fields = r.fields({128: "patches", 129: "padding", 130: "declared"})
    declared = None
    if 130 in fields:
        f = Reader(fields[130], f"{what}, declared")
        declared = f.uv()
        if f.left() or declared <= body_len:
            f.fail("is not one number greater than the body length")
    if 129 in fields:
        padding = fields[129]
        r.between(len(padding), 0, BLOCK - 1, "length of the padding")
    elif kind != MEMBER or declared is not None:
        padding = b""
    else:
        padding = bytes(-body_len % BLOCK)
    if size_form:
        octal(body_len if declared is None else declared, *SIZE_FORMS[size_form], what)
    patches = _patches(Reader(fields.get(128, b""), f"{what}, patches"))
    record = Record(
        kind, size_form, checksum_form, body_len, digest, items, patches, padding, declared, what
    )
    return record, start + length


def _patches(r: Reader) -> list[tuple[int, bytes]]:
    patches = []
    free = PATCH_REACH_MAX  # bytes before the end of the run that no patch has replaced yet
    while r.left():
        distance = r.between(r.uv(), 1, PATCH_REACH_MAX, "distance")
        if distance > free:
            r.fail("patches overlap or do not stand in order")
        length = r.between(r.uv(), 1, distance, "length")
        patches.append((distance, r.take(length)))
        free = distance - length
    return patches


def reach(record: Record) -> int:
    """How many bytes before the end of the run the record may change."""
    block = BLOCK if record.size_form or record.checksum_form else 0
    return max([block] + [distance for distance, _ in record.patches])


def octal(value: int, digits: int, ending: bytes, what: str) -> bytes:
    text = b"%0*o" % (digits, value)
    if len(text) > digits:
        raise FormatError(f"{what}: {value} does not fit {digits} octal digits")
    return text + ending


def corrected(record: Record, tail: bytes) -> bytes:
    """The end of a verbatim run as it stood in the stream."""
    run = bytearray(tail)
    for distance, new in record.patches:
        at = len(run) - distance
        run[at : at + len(new)] = new
    block = len(run) - BLOCK
    if record.size_form:
        size = record.body_len if record.declared is None else record.declared
        run[block + 124 : block + 136] = octal(size, *SIZE_FORMS[record.size_form], record.what)
    if record.checksum_form:
        run[block + 148 : block + 156] = b" " * 8
        total = sum(run[block:])
        run[block + 148 : block + 156] = octal(
            total, *CHECKSUM_FORMS[record.checksum_form], record.what
        )
    return bytes(run)
