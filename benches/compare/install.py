"""Finds the tools, and installs or builds those that are missing.

Debian packages need root or sudo; crates are built only when asked for. What
cannot be had is left out, and said so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from peers import BorgImport, BorgStream, Bupstash, Restic, Rustic, Zbackup
from tools import Dtar, Dtar19, DtarIndex, Floor, Floor19, Tool

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"zstd": "zstd", "restic": "restic", "borg": "borgbackup", "zbackup": "zbackup"}
#: Program -> crate and version, and the Debian packages that building it needs.
CRATES = {
    "rustic": ("rustic-rs@0.11.3", ["--no-default-features"], []),
    "bupstash": ("bupstash@0.12.0", [], ["libsodium-dev", "pkg-config"]),
}
TOOLS: dict[str, type[Tool]] = {
    kind.name: kind
    for kind in (Dtar, DtarIndex, Floor, Restic, BorgStream, BorgImport, Zbackup, Rustic, Bupstash,
                 Dtar19, Floor19)}


def tools_folder() -> Path:
    """Where built tools and corpora are kept: `DTAR_TOOLS`, else `.tools`."""
    return Path(os.environ.get("DTAR_TOOLS") or ROOT / ".tools").resolve()


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def apt_install(packages: Sequence[str]) -> bool:
    """Installs Debian packages if this machine lets us; whether it did."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not packages:
        return True
    if not shutil.which("apt-get") or (as_root and not shutil.which("sudo")):
        return False
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq",
               "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        say("$ " + " ".join(command))
        done = subprocess.run(as_root + command, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return False
    return True


def need(*packages: tuple[str, str]) -> bool:
    """Makes sure of programs given with their package; whether all are there."""
    missing = [package for program, package in packages if not _which(program)]
    return apt_install(missing) and all(_which(program) for program, _ in packages)


def _which(program: str) -> str | None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return shutil.which(program, path=path)


def build_dtar() -> str:
    """Builds the release binary of this tree; gives its path."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return str((ROOT / target / "release/dtar").resolve())


def _built(program: str, build: bool) -> str | None:
    """A peer from the crate registry: of exactly this version, built if need be."""
    crate, options, packages = CRATES[program]
    folder = tools_folder()
    name, version = crate.split("@")
    path, record = folder / "bin" / program, folder / ".crates.toml"
    if path.is_file() and record.is_file() and f'"{name} {version} ' in record.read_text():
        return str(path)
    if not build or not apt_install([p for p in packages if not _has_package(p)]):
        return None
    command = ["nice", "-n", "19", "cargo", "install", "--locked", "--quiet",
               "--root", str(folder), "-j1", *options, crate]
    say("$ " + " ".join(command))
    done = subprocess.run(command, check=False)
    return str(path) if done.returncode == 0 else None


def _has_package(package: str) -> bool:
    return package_version(package) != ""


def package_version(package: str) -> str:
    """The installed version of a Debian package, or nothing."""
    if not shutil.which("dpkg-query"):
        return ""
    answer = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package],
                            capture_output=True, text=True, check=False)
    status, _, version = answer.stdout.partition(" ")
    return version if status == "installed" else ""


def find_tools(names: Sequence[str], build: bool) -> tuple[list[Tool], list[str]]:
    """The tools of these names, in this order, and the names of those not to be had."""
    kinds = [TOOLS[name] for name in names]
    wanted = {kind.program for kind in kinds}
    missing = [PACKAGES[p] for p in sorted(wanted & PACKAGES.keys()) if not _which(p)]
    # dtar's index is measured as zstd leaves it.
    if "dtar" in wanted and "zstd" not in wanted and not _which("zstd"):
        missing.append("zstd")
    apt_install(missing)
    paths: dict[str, str | None] = {}
    for program in wanted:
        if program == "dtar":
            paths[program] = build_dtar()
        elif program in CRATES:
            paths[program] = _built(program, build)
        else:
            paths[program] = _which(program)
    found = [kind(path) for kind in kinds if (path := paths[kind.program])]
    return found, [kind.name for kind in kinds if not paths[kind.program]]


def versions(tools: Sequence[Tool]) -> dict[str, str]:
    """Each tool's version, with that of its Debian package if it came from one."""
    answer = {}
    for tool in tools:
        package = package_version(PACKAGES.get(tool.program, ""))
        debian = f" (Debian {package})" if package and tool.path.startswith("/usr") else ""
        answer[tool.name] = tool.version() + debian
    return answer
