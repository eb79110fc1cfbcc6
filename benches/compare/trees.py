"""Corpora made from files of the machine or of the distribution: linux, binaries, image."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import subprocess
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

from generated import EPOCH, MIB, new_tar
from install import need, package_version

BLOCK = 4096


def linux(folder: Path, quick: bool) -> str:
    """Debian's kernel source: the oldest and the newest version that the archive offers.

    Of the packages `linux-source-X.Y` that come in two versions or more, 6.1 if it is
    among them, else the lowest. quick: Python's own library with 2 % of its files edited.
    """
    if quick:
        return _quick_linux(folder)
    package, old, new = _linux_versions()
    for version, name in ((old, "new.tar"), (new, "next.tar")):
        subprocess.run(["apt-get", "download", "-q", f"{package}={version}"], cwd=folder,
                       stdout=subprocess.DEVNULL, check=True)
        (deb,) = folder.glob("*.deb")
        unpack_source(deb, folder / name)
        deb.unlink()
    return f"{package} {old}; next: {new}"


def unpack_source(deb: Path, target: Path) -> None:
    """Takes the plain source tar out of a `linux-source` package."""
    script = 'dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards "*/linux-source-*.tar.xz" | xz -dc'
    with open(target, "wb") as file:
        subprocess.run(["bash", "-o", "pipefail", "-c", script, "-", str(deb)], stdout=file,
                       check=True)


def _linux_versions() -> tuple[str, str, str]:
    def ask(*words: str) -> str:
        return subprocess.run(["apt-cache", *words], capture_output=True, text=True,
                              check=True).stdout

    names = ask("search", "--names-only", r"^linux-source-[0-9.]+$")
    packages = re.findall(r"^(linux-source-[0-9.]+) ", names, re.MULTILINE)
    for package in sorted(packages, key=lambda name: (name != "linux-source-6.1", name)):
        versions = [line.split("|")[1].strip() for line in ask("madison", package).splitlines()
                    if line.endswith(" Packages")]
        if len(set(versions)) > 1:
            return package, versions[-1], versions[0]
    raise SystemExit("apt offers no linux-source package in two versions; see benches/README.md")


def _quick_linux(folder: Path) -> str:
    tree = Path(sysconfig.get_path("stdlib"))
    files = [path for path in sorted(tree.rglob("*.py")) if "site-packages" not in path.parts]
    rng = random.Random("linux")
    with new_tar(folder / "new.tar") as new, new_tar(folder / "next.tar") as following:
        for path in files:
            body, name = path.read_bytes(), path.relative_to(tree).as_posix()
            _add(new, name, body)
            if rng.randrange(50) == 0:
                lines = body.splitlines(keepends=True)
                lines.insert(rng.randrange(len(lines) + 1), b"# edited\n")
                body = b"".join(lines)
            _add(following, name, body)
    return "a stand-in: Python's library; next: 2 % of the files edited"


def _add(archive: tarfile.TarFile, name: str, body: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(body), EPOCH, 0o644
    archive.addfile(info, io.BytesIO(body))


def _walk(tree: Path, limit: int) -> Iterator[tuple[Path, int]]:
    """Regular files in order of their names, until their sizes pass `limit`."""
    for root, folders, names in os.walk(tree):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_symlink() or not path.is_file():
                continue
            size = path.stat().st_size
            limit -= size
            if limit < 0:
                return
            yield path, size


def binaries(folder: Path, quick: bool) -> str:
    """A Rust toolchain, then /usr/lib, up to 2.2 GB: mostly machine code.

    next: of 100 files two are patched in place, three relinked, one removed, one added.
    """
    limit = 40_000_000 if quick else 2_200_000_000
    trees = [Path("/usr/lib")]
    if not quick and shutil.which("rustc"):
        answer = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True,
                                check=True)
        trees.insert(0, Path(answer.stdout.strip()))
    rng = random.Random("binaries")
    with new_tar(folder / "new.tar") as new, new_tar(folder / "next.tar") as following:
        for tree in trees:
            for path, size in _walk(tree, limit):
                limit -= size
                body, name = path.read_bytes(), f"{tree.name}/{path.relative_to(tree)}"
                _add(new, name, body)
                _add_changed(following, name, body, rng)
    return f"{' and '.join(tree.name for tree in trees)}; next: 5 % of the files changed, " \
           "1 % removed, 1 % added"


def _add_changed(archive: tarfile.TarFile, name: str, body: bytes, rng: random.Random) -> None:
    lot = rng.randrange(100)
    if lot == 0:
        return
    if lot <= 2:
        body = _patched(body, rng, 65_536, 16)
    elif lot <= 5:
        cut = rng.randrange(len(body) + 1)
        moved = _patched(body[cut:], rng, BLOCK, 4)
        body = body[:cut] + rng.randbytes(rng.randrange(1, 4096)) + moved
    elif lot == 6:
        _add(archive, f"{name}.added", rng.randbytes(len(body) // 8) + body[len(body) // 2:])
    _add(archive, name, body)


def _patched(body: bytes, rng: random.Random, step: int, length: int) -> bytes:
    """Overwrites `length` bytes at one random place per `step` bytes."""
    copy = bytearray(body)
    for _ in range(len(body) // step + 1):
        place = rng.randrange(max(1, len(body) - length))
        copy[place:place + length] = rng.randbytes(length)
    return bytes(copy[:len(body)])


def image(folder: Path, quick: bool) -> str:
    """An ext4 disk image as the one member of a tar: 4 GiB (quick: 64 MiB).

    In it lie files of /usr/share and /usr/lib. next: debugfs removes one file in 100 and
    writes another, then one 4 KiB block in 2000 is overwritten.
    """
    if not need(("mke2fs", "e2fsprogs"), ("debugfs", "e2fsprogs")):
        raise SystemExit("corpus image needs e2fsprogs")
    size, limit = (64 * MIB, 30_000_000) if quick else (4096 * MIB, 2_800_000_000)
    tree, disk = folder / "tree", folder / "disk.img"
    names = _copy_tree(tree, limit)
    env = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
                        "E2FSPROGS_FAKE_TIME": str(EPOCH)}
    uuid = "64746172-0000-4000-8000-000000000001"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-U", uuid, "-E", f"hash_seed={uuid}",
                    "-m", "0", "-N", str(len(names) * 2 + 1000), "-d", str(tree), str(disk),
                    f"{size // 1024}k"], env=env, check=True, stdout=subprocess.DEVNULL)
    _pack(disk, folder / "new.tar")
    rng = random.Random("image")
    script = []
    for name in names:
        if rng.randrange(100) == 0:
            copy = f"{name}.written"
            script += [f'rm "{name}"', f'write "{tree / name}" "{copy}"']
    subprocess.run(["debugfs", "-w", "-f", "-", str(disk)], input="\n".join(script), text=True,
                   env=env, check=True, capture_output=True)
    with open(disk, "r+b") as file:
        for _ in range(size // BLOCK // 2000):
            file.seek(rng.randrange(size // BLOCK) * BLOCK)
            file.write(rng.randbytes(BLOCK))
    _pack(disk, folder / "next.tar")
    disk.unlink()
    shutil.rmtree(tree)
    return f"ext4 image of {size:,} bytes, {len(names):,} files, mke2fs " \
           f"{package_version('e2fsprogs')}; next: 1 % of the files replaced, one block " \
           "in 2,000 overwritten"


def _copy_tree(tree: Path, limit: int) -> list[str]:
    """Copies files with simple names, in folders of 1000, all with one time."""
    tree.mkdir()
    names: list[str] = []
    for source in (Path("/usr/share"), Path("/usr/lib")):
        for path, size in _walk(source, limit):
            limit -= size
            name = f"{len(names) // 1000:03d}/{len(names):06d}"
            (tree / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, tree / name)
            os.utime(tree / name, (EPOCH, EPOCH))
            names.append(name)
    for parent in [tree, *tree.iterdir()]:
        os.utime(parent, (EPOCH, EPOCH))
    return names


def _pack(disk: Path, target: Path) -> None:
    with new_tar(target) as archive, open(disk, "rb") as file:
        info = tarfile.TarInfo("disk.img")
        info.size, info.mtime = os.fstat(file.fileno()).st_size, EPOCH
        archive.addfile(info, file)
