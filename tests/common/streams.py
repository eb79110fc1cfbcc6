"""Writes streams of Python's tarfile to files in a folder: streams.py FOLDER."""

import io
import pathlib
import sys
import tarfile


def members():
    """Members of each kind, with numbers and names that need extensions."""
    long = "n" * 80 + "/" + "m" * 120
    kinds = [
        ("empty", tarfile.REGTYPE, b""),
        ("small", tarfile.REGTYPE, b"small"),
        ("block", tarfile.REGTYPE, bytes(range(256)) * 2),
        ("old", tarfile.AREGTYPE, b"old kind of file"),
        ("contiguous", tarfile.CONTTYPE, b"contiguous"),
        ("large", tarfile.REGTYPE, b"".join(b"%08d" % n for n in range(40_000))),
        ("dir", tarfile.DIRTYPE, b""),
        ("hard", tarfile.LNKTYPE, b""),
        ("soft", tarfile.SYMTYPE, b""),
        ("char", tarfile.CHRTYPE, b""),
        ("block-device", tarfile.BLKTYPE, b""),
        ("fifo", tarfile.FIFOTYPE, b""),
    ]
    for number, (name, kind, body) in enumerate(kinds):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.size = len(body)
        info.mode = 0o640 + number
        info.mtime = 1_600_000_000 + number
        info.uname, info.gname = "user", "group"
        if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
            info.linkname = "small"
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = 8, number
        yield info, body
    for name in (long, "gr\u00fcn \u2603", "x" * 100, "x" * 101):
        info = tarfile.TarInfo(name)
        info.size = 4
        info.mtime = 1_600_000_000
        yield info, b"name"


def extras():
    """What only the pax format writes in full."""
    info = tarfile.TarInfo("fraction")
    info.size, info.mtime, info.uid = 3, 1_600_000_000.25, 3_000_000
    info.pax_headers = {"comment": "a comment", "VENDOR.key": "value = 1\n2"}
    yield info, b"pax"


def write(path, form, encoding, infos, headers=None):
    with tarfile.open(path, "w", format=form, encoding=encoding, errors="surrogateescape",
                      pax_headers=headers) as archive:
        for info, body in infos:
            try:
                archive.addfile(info, io.BytesIO(body))
            except ValueError:
                pass  # the format cannot hold it


def main(folder):
    folder = pathlib.Path(folder)
    write(folder / "ustar", tarfile.USTAR_FORMAT, "utf-8", members())
    write(folder / "gnu", tarfile.GNU_FORMAT, "utf-8", members())
    write(folder / "pax", tarfile.PAX_FORMAT, "utf-8", [*members(), *extras()])
    write(folder / "pax-global", tarfile.PAX_FORMAT, "utf-8", members(), {"comment": "for all"})
    write(folder / "latin-1-gnu", tarfile.GNU_FORMAT, "latin-1",
          [pair for pair in members() if pair[0].name.isascii() or "\u2603" not in pair[0].name])
    write(folder / "empty", tarfile.GNU_FORMAT, "utf-8", [])


if __name__ == "__main__":
    main(*sys.argv[1:])
