"""The corpora: two versions of one tar stream each, made once and cached.

Each maker writes `new.tar` and `next.tar` into a folder and returns one line that
says what they are. Whatever is generated follows from a seed alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from generated import logs, noise, tiny
from install import say, tools_folder
from trees import binaries, image, linux

Maker = Callable[[Path, bool], str]
MAKERS: dict[str, Maker] = {
    "linux": linux, "binaries": binaries, "tiny": tiny, "noise": noise, "image": image,
    "logs": logs}


@dataclass(frozen=True)
class Corpus:
    """Two versions of one stream."""

    name: str
    new: Path
    next: Path
    about: str


def corpora_folder() -> Path:
    """Where corpora are kept: `DTAR_CORPORA`, else `.tools/corpora`."""
    return Path(os.environ.get("DTAR_CORPORA") or tools_folder() / "corpora").resolve()


def corpus(name: str, quick: bool) -> Corpus:
    """A corpus, made if it is not there. `quick`: tens of megabytes instead of gigabytes.

    A `new.tar` and a `next.tar` that somebody put there are taken as they are.
    """
    folder = corpora_folder() / (f"{name}-quick" if quick else name)
    if not (folder / "new.tar").exists() or not (folder / "next.tar").exists():
        _make(name, folder, quick)
    note = folder / "about.json"
    about = json.loads(note.read_text()) if note.is_file() else "found there"
    return Corpus(name, folder / "new.tar", folder / "next.tar", about)


def _make(name: str, folder: Path, quick: bool) -> None:
    say(f"making corpus {name}{' (quick)' if quick else ''} in {folder}")
    half = folder.with_name(folder.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    # In a process of its own: a program's peak memory is never less than that of
    # the process that started it, so the one that measures has to stay small.
    worker = multiprocessing.Process(target=_work, args=(name, half, quick))
    worker.start()
    worker.join()
    if worker.exitcode != 0:
        raise SystemExit(f"corpus {name} cannot be made")
    folder.mkdir(exist_ok=True)
    for path in half.iterdir():
        path.replace(folder / path.name)
    half.rmdir()


def _work(name: str, half: Path, quick: bool) -> None:
    about = MAKERS[name](half, quick)
    (half / "about.json").write_text(json.dumps(about))
