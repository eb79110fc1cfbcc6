"""Corpora that follow from a seed alone: tiny, noise, logs."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path
from typing import BinaryIO

MIB = 1 << 20
EPOCH = 1_700_000_000
WORDS = """address alpha backup block brick buffer cache change chunk client close cold copy data
device disk entry error event file flush frame group header host index kernel layer limit link list
load lock member memory message mode module name network node offset open owner page path peer pipe
policy pool port process queue range read record region remote reply request reset restore retry
root route sample schedule segment server session shard signal socket source stage state status store
stream sync table tape target task thread time token trace transfer tree type update user value
version volume worker write zone""".split()


def member(name: str, size: int, mtime: int = EPOCH) -> tarfile.TarInfo:
    """A plain file's header."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, mtime, 0o644
    info.uid = info.gid = 1000
    info.uname = info.gname = "user"
    return info


def new_tar(path: Path) -> tarfile.TarFile:
    """A tar to write, in GNU's format."""
    return tarfile.open(path, "w", format=tarfile.GNU_FORMAT)


def phrase(rng: random.Random, count: int) -> str:
    """So many words."""
    return " ".join(rng.choices(WORDS, k=count))


def tiny(folder: Path, quick: bool) -> str:
    """Files below 2 KB: lines of text, each with some random digits.

    next: one file in a hundred has a line changed, one is added after each hundred.
    """
    count = 20_000 if quick else 500_000
    rng = random.Random("tiny")
    lines = [phrase(rng, rng.randrange(4, 14)) for _ in range(20_000)]
    with new_tar(folder / "new.tar") as new, new_tar(folder / "next.tar") as following:
        for number in range(count):
            text = []
            room = rng.randrange(2048)
            while room > 0:
                text.append(f"{rng.choice(lines)} {rng.getrandbits(32):08x}\n")
                room -= len(text[-1])
            name = f"tiny/{number // 10_000:02d}/{number // 100 % 100:02d}/file-{number:06d}.conf"
            _add_text(new, name, text, EPOCH)
            changed = number % 100 == 37
            if changed:
                text[len(text) // 2:len(text) // 2 + 1] = [f"changed {rng.getrandbits(64)}\n"]
            _add_text(following, name, text, EPOCH + 86_400 * changed)
            if number % 100 == 99:
                added = [f"{rng.choice(lines)} {rng.getrandbits(32):08x}\n" for _ in range(12)]
                _add_text(following, f"{name}.added", added, EPOCH + 86_400)
    return f"{count:,} generated text files below 2 KB; next: 1 % changed, 1 % added"


def _add_text(archive: tarfile.TarFile, name: str, text: list[str], mtime: int) -> None:
    body = "".join(text).encode()[:2047]
    archive.addfile(member(name, len(body), mtime), io.BytesIO(body))
    # Of 500,000 members, tarfile would keep 500,000 headers.
    archive.members = []  # type: ignore[attr-defined]


class Noise(io.RawIOBase):
    """Incompressible bytes from a seed, without end."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.rest = b""

    def read(self, size: int = -1) -> bytes:
        """So many bytes."""
        parts, need = [self.rest], size - len(self.rest)
        while need > 0:
            parts.append(self.rng.randbytes(MIB))
            need -= MIB
        joined = b"".join(parts)
        self.rest = joined[size:]
        return joined[:size]


class Joined(io.RawIOBase):
    """Several sources after one another, each with a length."""

    def __init__(self, *parts: tuple[io.RawIOBase, int]) -> None:
        super().__init__()
        self.parts = list(parts)

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or fewer at the end."""
        answer = b""
        while self.parts and len(answer) < size:
            source, left = self.parts[0]
            take = min(size - len(answer), left)
            answer += source.read(take) or b""
            self.parts[0] = (source, left - take)
            if take == left:
                self.parts.pop(0)
        return answer


def noise(folder: Path, quick: bool) -> str:
    """One incompressible file; next: 10 MB (quick: 1 MB) inserted at one third."""
    size, more = (48 * MIB, 1_000_000) if quick else (2_000_000_000, 10_000_000)
    third = size // 3
    with new_tar(folder / "new.tar") as archive:
        archive.addfile(member("noise", size), Noise("noise"))
    source = Noise("noise")
    body = Joined((source, third), (Noise("inserted"), more), (source, size - third))
    with new_tar(folder / "next.tar") as archive:
        archive.addfile(member("noise", size + more, EPOCH + 86_400), body)
    return f"{size:,} incompressible bytes; next: {more:,} inserted at one third"


def logs(folder: Path, quick: bool) -> str:
    """Four logs of text; next: each 1 % longer."""
    count, size = 4, 12 * MIB if quick else 256 * MIB
    with new_tar(folder / "new.tar") as new, new_tar(folder / "next.tar") as following:
        for number in range(count):
            spool = folder / "log"
            with open(spool, "w+b") as file:
                _write_log(file, f"log {number}", size + size // 100)
                for archive, length in ((new, size), (following, size + size // 100)):
                    file.seek(0)
                    archive.addfile(member(f"log/app-{number}.log", length), file)
            spool.unlink()
    return f"{count} generated logs of {size:,} bytes each; next: each 1 % longer"


def _write_log(file: BinaryIO, seed: str, size: int) -> None:
    """At least `size` bytes of lines with time, host, level, id and message."""
    rng = random.Random(seed)
    messages = [phrase(rng, rng.randrange(3, 10)) for _ in range(400)]
    heads = [f"{host} {level}" for host in ("web-1", "web-2", "db-1", "queue-3")
             for level in ("info", "info", "info", "debug", "warning", "error")]
    clock, written = EPOCH * 1000, 0
    while written < size:
        block = []
        for _ in range(10_000):
            bits = rng.getrandbits(64)
            clock += bits & 127
            block.append(f"{clock} {heads[(bits >> 7) % len(heads)]} id={bits >> 32:08x} "
                         f"{messages[(bits >> 12) % 400]} took={(bits >> 21) % 977}ms\n")
        written += file.write("".join(block).encode())
