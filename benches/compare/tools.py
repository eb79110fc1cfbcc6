"""The tools side by side: how each makes a store, archives and restores.

Every tool reads the same stream on standard input and writes to its own folder
(`Sandbox`): its store, its keys and its caches, so that no run sees another.
Encryption is on wherever a tool has it, compression is zstd 3 where it is offered.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from measure import Command, consume, run, same_bytes, tree_size
from members import same_members

PASSWORD = "correct horse battery staple"
STREAM = "stream.tar"


@dataclass(frozen=True)
class Sandbox:
    """A folder of one run of one tool on one corpus, made empty and removed after."""

    root: Path

    def __post_init__(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        for folder in ("home", "store", "out"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "password").write_text(PASSWORD + "\n")

    @property
    def store(self) -> Path:
        """What has to be kept; all of it counts."""
        return self.root / "store"

    @property
    def log(self) -> Path:
        """The standard error of all commands."""
        return self.root / "log"

    @property
    def env(self) -> dict[str, str]:
        """Moves all that a tool would put into the user's folders."""
        home = self.root / "home"
        return {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"),
                "XDG_CONFIG_HOME": str(home / ".config"), "TMPDIR": str(self.root / "out")}


class Tool:
    """One row of the tables. `note` says what differs from the other rows."""

    name = ""
    program = ""
    note = ""
    #: The arguments that make the program tell its version.
    ask: tuple[str, ...] = ("--version",)
    #: Whether restore gives the stream's very bytes, or only its members.
    exact = True
    #: Whether it is left out unless it is asked for: minutes a run.
    slow = False

    def __init__(self, program: str) -> None:
        self.path = program

    def version(self) -> str:
        """The first version number that the program says about itself."""
        answer = subprocess.run([self.path, *self.ask], capture_output=True, text=True,
                                check=False, stdin=subprocess.DEVNULL)
        found = re.search(r"\d+\.\d+[\w.+~-]*", answer.stdout + answer.stderr)
        return found.group() if found else "?"

    def prepare(self, box: Sandbox) -> None:
        """Makes an empty store and its key; not timed."""

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        """Stores `stream` under `name`."""
        raise NotImplementedError

    def restore(self, box: Sandbox, name: str) -> Command:
        """Regenerates what was stored under `name`."""
        raise NotImplementedError

    def after(self, box: Sandbox, name: str, stream: Path) -> None:
        """What is left to do after `archive`, untimed."""

    def parts(self, box: Sandbox) -> dict[str, Path]:
        """Parts of the store worth a figure each; not added to the sum again."""
        return {}

    def sizes(self, box: Sandbox) -> dict[str, int]:
        """Bytes by part; `store` is the sum of all file lengths, `disk` the space taken."""
        length, disk = tree_size(box.store)
        parts = {name: tree_size(path)[0] for name, path in self.parts(box).items()}
        return {"store": length, "disk": disk} | parts

    def check(self, box: Sandbox, original: Path) -> None:
        """Restores what `new` stored and compares it with the original; untimed.

        Raises `measure.Failed` if they differ.
        """
        consume(self.restore(box, "new"), box.log,
                same_bytes(original) if self.exact else same_members(original))

    def _do(self, box: Sandbox, *arguments: str) -> None:
        run(Command([[self.path, *arguments]], env=self._env(box)), box.log)

    def _command(self, box: Sandbox, *arguments: str, stdin: Path | None = None,
                 stdout: Path | None = None) -> Command:
        return Command([[self.path, *arguments]], stdin, stdout, self._env(box))

    def _env(self, box: Sandbox) -> dict[str, str]:
        return box.env


class Dtar(Tool):
    """dtar with its default settings: each run leaves a snapshot, so store and key are enough."""

    name = program = "dtar"
    note = "restores from the snapshot in the store; the index that it writes too is not counted"
    options: tuple[str, ...] = ()

    def _env(self, box: Sandbox) -> dict[str, str]:
        return box.env | {
            "DTAR_STORE": str(box.store / "dtar"), "DTAR_KEY": str(box.root / "key"),
            "DTAR_CATALOG": str(box.root / "home/catalog")}

    def prepare(self, box: Sandbox) -> None:
        self._packed(box).mkdir()
        self._do(box, "init", "--quiet")

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        return self._command(box, "--quiet", "--label", name, *self.options, stdin=stream,
                             stdout=self._index(box, name))

    def after(self, box: Sandbox, name: str, stream: Path) -> None:
        zstd = Command([["zstd", "-3", "-q", "-c"]], self._index(box, name),
                       self._packed(box) / f"{name}.tar.zst")
        run(zstd, box.log)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, "restore", "--quiet", f"@label:{name}")

    def parts(self, box: Sandbox) -> dict[str, Path]:
        folders = {path.name: path for path in sorted((box.store / "dtar").iterdir())}
        counted = "" if self._packed(box).parent == box.store else " (not counted)"
        folders[f"indexes, zstd -3{counted}"] = self._packed(box)
        folders["indexes, raw (not counted)"] = box.root / "out"
        folders["catalog (a cache, not counted)"] = box.root / "home/catalog"
        return folders

    def _index(self, box: Sandbox, name: str) -> Path:
        return box.root / "out" / f"{name}.tar"

    def _packed(self, box: Sandbox) -> Path:
        return box.root / "indexes"


class DtarIndex(Dtar):
    """dtar without snapshots: what has to be kept are the store and the indexes."""

    name = "dtar-index"
    note = "`--no-snapshot`; its index counts as `zstd -3` leaves it, and restore takes it"
    options = ("--no-snapshot",)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, "restore", "--quiet", str(self._index(box, name)))

    def _packed(self, box: Sandbox) -> Path:
        return box.store / "indexes"


class Dtar19(Dtar):
    """dtar for archives that are read seldom."""

    name = "dtar-19"
    note = "`--level 19 --long`"
    options = ("--level", "19", "--long")
    slow = True


class Floor(Tool):
    """What the machine can do: no store, no encryption, nothing deduplicated.

    new and next: `zstd -3 -T2`; same: `cat FILE | cat`; restore: `zstd -dc`.
    """

    name = program = "zstd"
    level: tuple[str, ...] = ("-3",)
    note = "new, next: `zstd -3 -T2 >/dev/null`; same: `cat FILE | cat >/dev/null`; " \
           "restore: `zstd -dc >/dev/null`; size: of `new` alone"

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        if name == "same":
            return Command([["cat", str(stream)], ["cat"]])
        return self._command(box, *self.level, "-T2", "-q", "-c", stdin=stream)

    def after(self, box: Sandbox, name: str, stream: Path) -> None:
        if name == "new":
            run(self._command(box, *self.level, "-T2", "-q", "-c", stdin=stream,
                              stdout=box.store / "new.zst"), box.log)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, "-dc", "--long=27", "-q", stdin=box.store / f"{name}.zst")


class Floor19(Floor):
    """The same at the level that archives are compressed with."""

    name = "zstd-19"
    level = ("-19", "--long=27")
    note = "`zstd -19 --long=27 -T2`, which keeps no store"
    slow = True
