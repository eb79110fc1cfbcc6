"""Parity sets: ../../parity.md. No key is needed."""

import glob
import os
import tempfile

import blake3

from .wire import FormatError, Reader, blake3_256

HEAD_LEN, DESCRIPTION_MAX, SHARD_MAX, BRICK_MAX = 96, 2**27, 2**20, 2**40
STRIPE_PARITY_MAX, STRIPE_MAX, MEMBERS_MAX, SHARDS_MAX = 2**26, 2**16, 2**16, 2**21
STRIPES_MAX, PARTS_MAX = 2**16, 2**25

# The field: elements are numbers in the Cantor basis, products those of polynomials.
_BASIS = [0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012]
_BASIS += [0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E]
_ORDER = 2**16 - 1
_LOG, _EXP = [0] * 2**16, [0] * (2 * _ORDER)


def _make_tables():
    element = [0]  # polynomial of each element, then the element of each polynomial
    for polynomial in _BASIS:
        element += [other ^ polynomial for other in element]
    of = {polynomial: number for number, polynomial in enumerate(element)}
    power = 1
    for exponent in range(_ORDER):
        number = of[power]
        _LOG[number], _EXP[exponent], _EXP[exponent + _ORDER] = exponent, number, number
        power <<= 1
        if power >> 16:
            power ^= 0x1002D


_make_tables()


def mul(a: int, b: int) -> int:
    return _EXP[_LOG[a] + _LOG[b]] if a and b else 0


def div(a: int, b: int) -> int:
    return _EXP[_LOG[a] - _LOG[b] + _ORDER] if a else 0


def coefficient(recovery: int, i: int, j: int) -> int:
    """What original i of a stripe counts in recovery symbol j."""
    m = 1 << (recovery - 1).bit_length()
    s = m + i
    for _ in range(m.bit_length() - 1):
        s ^= mul(s, s)
    return div(s, m + i ^ j)


def symbols(shard: bytes, length: int) -> list[int]:
    shard = bytes(shard) + bytes(length - len(shard))
    blocks = (shard[at : at + 64] for at in range(0, length, 64))
    return [low | high << 8 for block in blocks for low, high in zip(block[:32], block[32:])]


def shard(numbers: list[int]) -> bytes:
    out = b""
    for at in range(0, len(numbers), 32):
        block = numbers[at : at + 32]
        out += bytes(n & 255 for n in block) + bytes(n >> 8 for n in block)
    return out


def add_scaled(to: list[int], factor: int, numbers: list[int]):
    if factor:
        log = _LOG[factor]
        for at, number in enumerate(numbers):
            if number:
                to[at] ^= _EXP[log + _LOG[number]]


def recovery_shard(originals: list[bytes], recovery: int, j: int) -> bytes:
    sums = [0] * (len(originals[0]) // 2)
    for i, original in enumerate(originals):
        add_scaled(sums, coefficient(recovery, i, j), symbols(original, len(original)))
    return shard(sums)


def solve(originals: list[bytes | None], recovered: dict[int, bytes], recovery: int, length: int) -> list[bytes]:
    """All originals of a stripe, from those there are and as many recovery shards as are lost."""
    lost = [i for i, original in enumerate(originals) if original is None]
    rows = sorted(recovered)[: len(lost)]
    if len(rows) < len(lost):
        raise FormatError(f"{len(lost)} shards of a stripe are lost, {len(rows)} recovery shards are whole")
    sides = [symbols(recovered[j], length) for j in rows]
    for i, original in enumerate(originals):
        if original is not None:
            numbers = symbols(original, length)
            for side, j in zip(sides, rows):
                add_scaled(side, coefficient(recovery, i, j), numbers)
    matrix = [[coefficient(recovery, i, j) for i in lost] for j in rows]
    for at in range(len(lost)):  # Gauss and Jordan: no pivot is 0, for every square part can be inverted.
        inverse = div(1, matrix[at][at])
        matrix[at] = [mul(inverse, x) for x in matrix[at]]
        scaled = [0] * (length // 2)
        add_scaled(scaled, inverse, sides[at])
        sides[at] = scaled
        for row in range(len(lost)):
            factor = matrix[row][at]
            if row != at and factor:
                matrix[row] = [x ^ mul(factor, y) for x, y in zip(matrix[row], matrix[at])]
                add_scaled(sides[row], factor, sides[at])
    found = dict(zip(lost, map(shard, sides)))
    return [found[i] if original is None else original for i, original in enumerate(originals)]


class Head:
    def __init__(self, data):
        r = Reader(data, "parity head", 0, min(len(data), HEAD_LEN))
        r.prefix(b"dtarPARI")
        self.set_id, self.description_len = r.take(32), r.u64()
        self.shard_len, self.stripes, self.first, self.count = r.u32(), r.u32(), r.u32(), r.u32()
        r.take(8)
        r.check(0)
        r.between(self.description_len, 0, DESCRIPTION_MAX, "length of the description")
        _check_shard_len(r, self.shard_len)
        r.between(self.stripes, 1, STRIPES_MAX, "number of stripes")
        r.between(self.first, 0, STRIPE_MAX - 1, "first recovery shard")
        r.between(self.count, 1, STRIPE_MAX - self.first, "number of recovery shards")

    def offset(self, stripe: int, number: int) -> int:
        return HEAD_LEN + self.description_len + (stripe * self.count + number - self.first) * self.shard_len


def _check_shard_len(r: Reader, value: int):
    if r.between(value, 64, SHARD_MAX, "shard length") % 64:
        r.fail("shard length is not a multiple of 64")


class Description:
    def __init__(self, data):
        r = Reader(data, "parity description")
        r.prefix(b"dtarPSET")
        self.shard_len, self.stripes, self.recovery, self.per_file = r.u32(), r.u32(), r.u32(), r.u32()
        count = r.between(r.u32(), 1, MEMBERS_MAX, "number of members")
        self.share = r.between(r.u32(), 0, 1_000_000, "share")
        _check_shard_len(r, self.shard_len)
        r.between(self.recovery, 1, STRIPE_MAX // 2, "recovery shards of a stripe")
        r.between(self.per_file, 1, self.recovery, "recovery shards of a file")
        self.members = [self._member(r) for _ in range(count)]
        if any(one[1] >= two[1] for one, two in zip(self.members, self.members[1:])):
            r.fail("names do not ascend")
        numbers = [-(-length // self.shard_len) for _, _, length in self.members]
        r.between(self.stripes, 1, min(max(numbers), STRIPES_MAX), "number of stripes")
        r.between(self.stripes * count, 1, PARTS_MAX, "stripes of all members")
        m = 1 << (self.recovery - 1).bit_length()
        r.between(m * self.shard_len, 64, STRIPE_PARITY_MAX, "recovery of a stripe")
        r.between(sum(-(-n // self.stripes) for n in numbers) + m, 1, STRIPE_MAX, "shards of a stripe")
        r.between(sum(numbers), 1, SHARDS_MAX, "shards of members")
        r.between(self.stripes * self.recovery, 1, SHARDS_MAX, "recovery shards")
        self.checks = [[r.take(16) for _ in range(n)] for n in numbers]
        self.recovery_checks = [[r.take(16) for _ in range(self.recovery)] for _ in range(self.stripes)]
        r.fields({})

    @staticmethod
    def _member(r: Reader) -> tuple[int, bytes, int]:
        return r.between(r.u8(), 0, 1, "class"), r.take(32), r.between(r.uv(), 1, BRICK_MAX, "length")

    def part(self, member: int, stripe: int) -> range:
        n = len(self.checks[member])
        return range(n * stripe // self.stripes, n * (stripe + 1) // self.stripes)


class Set:
    """A set, and what is there of it below some directories."""

    def __init__(self, description: Description, files: list[tuple[str, Head]], directories: list[str]):
        self.description, self.files = description, files
        self.copies = [_places(directories, f"{name.hex()}.brick") for _, name, _ in description.members]

    def is_whole(self, member: int) -> bool:
        _, name, _ = self.description.members[member]
        return any(_hash(path) == name for path in self.copies[member])

    def original(self, member: int, number: int) -> bytes | None:
        """A shard, wherever a copy of the brick has it whole."""
        d = self.description
        start = number * d.shard_len
        length = min(d.shard_len, d.members[member][2] - start)
        for path in self.copies[member]:
            data = _read(path, start, length)
            if blake3_256(data)[:16] == d.checks[member][number]:
                return data
        return None

    def recovered(self, stripe: int) -> dict[int, bytes]:
        d, found = self.description, {}
        for path, head in self.files:
            for j in range(head.first, min(head.first + head.count, d.recovery)):
                data = _read(path, head.offset(stripe, j), d.shard_len)
                if blake3_256(data)[:16] == d.recovery_checks[stripe][j]:
                    found[j] = data
        return found

    def repair(self, directory: str) -> list[str]:
        """Writes the bricks that are nowhere whole into `directory`; returns a line for each."""
        d = self.description
        lost = [member for member in range(len(d.members)) if not self.is_whole(member)]
        if not lost:
            return []
        outs = {member: tempfile.NamedTemporaryFile(dir=directory, delete=False) for member in lost}
        try:
            for stripe in range(d.stripes):
                self._stripe(stripe, outs)
            return [self._keep(d.members[member], out, directory) for member, out in outs.items()]
        finally:
            for out in outs.values():
                out.close()
                if os.path.exists(out.name):
                    os.unlink(out.name)

    def _stripe(self, stripe: int, outs):
        d = self.description
        places = [(member, n) for member in range(len(d.members)) for n in d.part(member, stripe)]
        originals = [self.original(*place) for place in places]
        if None in originals:
            originals = solve(originals, self.recovered(stripe), d.recovery, d.shard_len)
        for (member, n), data in zip(places, originals):
            if member in outs:
                start = n * d.shard_len
                outs[member].seek(start)
                outs[member].write(data[: d.members[member][2] - start])

    @staticmethod
    def _keep(member, out, directory: str) -> str:
        name = member[1].hex()
        out.flush()
        if _hash(out.name) != member[1]:
            raise FormatError(f"brick {name}: what comes back has another hash")
        os.rename(out.name, os.path.join(directory, f"{name}.brick"))
        return f"{name}: brought back"


def _places(directories: list[str], file: str) -> list[str]:
    parts = ((), (file[:2],), ("bricks", file[:2]), ("meta", file[:2]))
    paths = [os.path.join(directory, *part, file) for directory in directories for part in parts]
    return [path for path in paths if os.path.isfile(path)]


def _hash(path: str) -> bytes:
    hasher = blake3.blake3()
    hasher.update_mmap(path)
    return hasher.digest()


def _read(path: str, start: int, length: int) -> bytes:
    with open(path, "rb") as f:
        f.seek(start)
        return f.read(length)


def _head(path: str) -> Head:
    try:
        return Head(_read(path, 0, HEAD_LEN))
    except FormatError:
        return Head(_read(path, max(0, os.path.getsize(path) - HEAD_LEN), HEAD_LEN))


def _description(path: str, head: Head) -> Description | None:
    for start in (HEAD_LEN, head.offset(head.stripes, head.first)):
        data = _read(path, start, head.description_len)
        if blake3_256(data) == head.set_id:
            return Description(data)
    return None


def find_sets(directories: list[str]) -> tuple[list[Set], list[str]]:
    """The sets of which parity files lie there, and what is wrong with files that are of no use."""
    groups: dict[bytes, list[tuple[str, Head]]] = {}
    bad = []
    for directory in directories:
        for path in sorted(glob.glob(os.path.join(glob.escape(directory), "**", "*.parity"), recursive=True)):
            try:
                head = _head(path)
            except FormatError as e:
                bad.append(f"{path}: {e}")
            else:
                groups.setdefault(head.set_id, []).append((path, head))
    sets = []
    for files in groups.values():
        description = next(filter(None, (_description(*file) for file in files)), None)
        if description is None:
            bad += [f"{path}: no description is whole" for path, _ in files]
        else:
            files = [(path, head) for path, head in files if _fits(head, description)]
            sets.append(Set(description, files, directories))
    return sets, bad


def _fits(head: Head, d: Description) -> bool:
    same = (head.shard_len, head.stripes) == (d.shard_len, d.stripes)
    return same and head.first % d.per_file == 0 and head.count == min(d.per_file, d.recovery - head.first)


def check(directories: list[str]) -> list[str]:
    """A line for each brick and parity file that is missing or damaged."""
    sets, lines = find_sets(directories)
    for found in sets:
        d = found.description
        for member, (_, name, _) in enumerate(d.members):
            if not found.copies[member]:
                lines.append(f"{name.hex()}: missing")
            lines += [f"{path}: damaged" for path in found.copies[member] if _hash(path) != name]
        for path, _ in found.files:
            if os.path.basename(path) != f"{_hash(path).hex()}.parity":
                lines.append(f"{path}: damaged")
        missing = set(range(0, d.recovery, d.per_file)) - {head.first for _, head in found.files}
        lines += [f"a parity file with recovery shards from {first} on is missing" for first in sorted(missing)]
    return lines


def repair(directories: list[str], to: str) -> list[str]:
    """Brings bricks back into the directory `to`."""
    sets, lines = find_sets(directories)
    for found in sets:
        lines += found.repair(to)
    return lines
