"""Leases, dead lists and damage marks: ../../collection.md#notes."""

import os
import re

from .keys import open_whole
from .wire import FormatError, Reader

KINDS = {1: "lease of an archiver", 2: "lease of a gc", 3: "dead list", 4: "mark"}
_DEAD_LIST, _MARK = 3, 4
_RUN = r"([0-9]{20})-([0-9a-f]{16})"


class Note:
    def __init__(self, data, key):
        self.store_id, content = open_whole(data, "note", key)
        self._content(content)

    def _content(self, r: Reader):
        self.kind = r.between(r.u8(), 1, 4, "kind")
        r.take(3)
        self.process, self.time, self.random, self.writer = r.u32(), r.u64(), r.take(8), r.take(16)
        self.host = r.take(r.between(r.uv(), 0, 255, "length of the host name"))
        self.boot_id = r.take(r.between(r.uv(), 0, 64, "length of the boot id"))
        self.text = r.take(r.between(r.uv(), 0, 4096, "length of the text"))
        low, high = {_DEAD_LIST: (1, r.left() // 32), _MARK: (1, 1)}.get(self.kind, (0, 0))
        self.bricks = [r.take(32) for _ in range(r.between(r.uv(), low, high, "number of bricks"))]
        if any(one >= two for one, two in zip(self.bricks, self.bricks[1:])):
            r.fail("bricks do not ascend")
        r.fields({})

    def __str__(self) -> str:
        names = " ".join(name.hex() for name in self.bricks)
        host, text = self.host.decode(errors="replace"), self.text.decode(errors="replace")
        parts = (KINDS[self.kind], f"{host} {self.process}", text, names)
        return ": ".join(part for part in parts if part)


def _read(path: str, kinds: set[int], key, run: re.Match | None = None, brick: str | None = None) -> Note:
    with open(path, "rb") as f:
        note = Note(f.read(), key)
    if note.kind not in kinds:
        raise FormatError(f"a {KINDS[note.kind]}, which does not belong here")
    if run and (note.time, note.random.hex()) != (int(run[1]), run[2]):
        raise FormatError("time or random half are not those of the name")
    if brick and note.bricks[0].hex() != brick:
        raise FormatError("the brick is not that of the name")
    return note


def list_notes(store: str, key):
    """Path and note, or what is wrong with it, of all leases, dead lists and marks of a store."""
    for folder, form in (("runs", _RUN), ("dead", _RUN + r"\.dead"), ("bad", "[0-9a-f]{64}")):
        directory = os.path.join(store, folder)
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            match = re.fullmatch(form, name)
            if not match:
                continue
            path = os.path.join(directory, name, "lease") if folder == "runs" else os.path.join(directory, name)
            kinds = {"runs": {1, 2}, "dead": {_DEAD_LIST}, "bad": {_MARK}}[folder]
            run, brick = (None, name) if folder == "bad" else (match, None)
            try:
                yield path, _read(path, kinds, key, run, brick)
            except (FormatError, OSError) as e:
                # A mark counts, and a lease may be somebody's, though they do not open.
                yield path, f"does not open: {e}"
