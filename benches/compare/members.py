"""Compares two tar streams member by member, for tools that write a tar of their own."""

from __future__ import annotations

import hashlib
import itertools
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import BLOCK, Failed

Member = tuple[str, bytes, int, int, int, str, bytes]


def _members(archive: tarfile.TarFile) -> Iterator[Member]:
    """What a restore has to bring back of each member, in order."""
    for info in archive:
        body = hashlib.sha256()
        file = archive.extractfile(info) if info.isreg() else None
        while file and (part := file.read(BLOCK)):
            body.update(part)
        name = os.path.normpath(info.name)
        yield (name, info.type, info.size, info.mode & 0o7777, int(info.mtime),
               info.linkname, body.digest())
        # Of 500,000 members, tarfile would keep 500,000 headers.
        archive.members = []  # type: ignore[attr-defined]


def same_members(original: Path) -> Callable[[int], None]:
    """A taker for `measure.consume` that fails at the first member unlike the original's."""

    def compare(descriptor: int) -> None:
        with open(descriptor, "rb", BLOCK, closefd=False) as stream, \
                tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK) as ours, \
                tarfile.open(original, mode="r|", bufsize=BLOCK) as theirs:
            for left, right in itertools.zip_longest(_members(ours), _members(theirs)):
                if left != right:
                    raise Failed(f"restored {left}, but {original} has {right}")
            while stream.read(BLOCK):
                pass

    return compare
