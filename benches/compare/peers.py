"""The peers: other tools that deduplicate a stream."""

from __future__ import annotations

from pathlib import Path

from measure import Command
from tools import PASSWORD, STREAM, Sandbox, Tool


class Restic(Tool):
    """restic; repository version 2 compresses with zstd at its default level."""

    name = program = "restic"
    ask = ("version",)

    def prepare(self, box: Sandbox) -> None:
        self._do(box, "init", "-q", "--repository-version", "2")

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        return self._command(box, "backup", "-q", "--tag", name, "--stdin",
                             "--stdin-filename", STREAM, stdin=stream)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, "dump", "-q", "--tag", name, "latest", STREAM)

    def _env(self, box: Sandbox) -> dict[str, str]:
        return box.env | {"RESTIC_REPOSITORY": str(box.store / "restic"),
                          "RESTIC_PASSWORD": PASSWORD,
                          "RESTIC_CACHE_DIR": str(box.root / "home/cache")}


class Rustic(Tool):
    """rustic: restic's repository format, zstd 3."""

    name = program = "rustic"

    def prepare(self, box: Sandbox) -> None:
        self._do(box, "init")

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        return self._command(box, "backup", "--label", name, "--stdin-filename", STREAM, "-",
                             stdin=stream)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, "dump", "--filter-label", name, f"latest:{STREAM}")

    def _env(self, box: Sandbox) -> dict[str, str]:
        return box.env | {"RUSTIC_REPOSITORY": str(box.store / "rustic"),
                          "RUSTIC_PASSWORD": PASSWORD, "RUSTIC_NO_PROGRESS": "true",
                          "RUSTIC_CACHE_DIR": str(box.root / "home/cache")}


class _Borg(Tool):
    """What both rows of borg share: repokey-blake2, zstd 3."""

    program = "borg"

    def prepare(self, box: Sandbox) -> None:
        self._do(box, "init", "-e", "repokey-blake2", str(box.store / "borg"))

    def _env(self, box: Sandbox) -> dict[str, str]:
        return box.env | {"BORG_PASSPHRASE": PASSWORD, "BORG_BASE_DIR": str(box.root / "home")}

    def _archive(self, box: Sandbox, name: str) -> str:
        return f"{box.store}/borg::{name}"


class BorgStream(_Borg):
    """borg, the stream as one file."""

    name = "borg"

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        return self._command(box, "create", "--compression", "zstd,3", "--stdin-name", STREAM,
                             self._archive(box, name), "-", stdin=stream)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, "extract", "--stdout", self._archive(box, name), STREAM)


class BorgImport(_Borg):
    """borg, member by member."""

    name = "borg-import-tar"
    note = "restore gives the same members, not the same bytes"
    exact = False

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        return self._command(box, "import-tar", "--compression", "zstd,3",
                             self._archive(box, name), "-", stdin=stream)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, "export-tar", self._archive(box, name), "-")


class Zbackup(Tool):
    """zbackup, with its own default compression."""

    name = program = "zbackup"
    note = "compresses with LZMA; it has no zstd"
    ask = ("--help",)

    def prepare(self, box: Sandbox) -> None:
        self._do(box, *self._flags(box), "init", str(box.store / "zbackup"))

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        return self._command(box, *self._flags(box), "backup", self._name(box, name),
                             stdin=stream)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, *self._flags(box), "restore", self._name(box, name))

    def _flags(self, box: Sandbox) -> list[str]:
        return ["--silent", "--password-file", str(box.root / "password")]

    def _name(self, box: Sandbox, name: str) -> str:
        return str(box.store / "zbackup/backups" / name)


class Bupstash(Tool):
    """bupstash, zstd 3."""

    name = program = "bupstash"

    def prepare(self, box: Sandbox) -> None:
        self._do(box, "init")
        self._do(box, "new-key", "-o", str(box.root / "key"))

    def archive(self, box: Sandbox, name: str, stream: Path) -> Command:
        return self._command(box, "put", "-q", "--compression", "zstd:3", f"name={name}", "-",
                             stdin=stream)

    def restore(self, box: Sandbox, name: str) -> Command:
        return self._command(box, "get", "-q", f"name={name}")

    def _env(self, box: Sandbox) -> dict[str, str]:
        return box.env | {"BUPSTASH_REPOSITORY": str(box.store / "bupstash"),
                          "BUPSTASH_KEY": str(box.root / "key")}
