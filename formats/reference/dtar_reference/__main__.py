"""Command line: see ../README.md."""

import argparse
import os
import sys

from .brick import verify_brick
from .index import Index, read_index
from .keys import load_key
from .notes import list_notes
from .parity import check, repair
from .restore import Restorer
from .snapshot import read_snapshot
from .wire import FormatError


def _arguments():
    parser = argparse.ArgumentParser(prog="dtar-reference", description="reads dtar's formats")
    commands = parser.add_subparsers(dest="command", required=True)
    restore = commands.add_parser("restore", help="write the stream of INDEX to standard output")
    restore.add_argument("--key", required=True, metavar="KEYFILE")
    restore.add_argument("--bricks", required=True, action="append", metavar="DIR")
    restore.add_argument("index", metavar="INDEX", help="or a snapshot, STORE/snapshots/NAME.snap")
    verify = commands.add_parser("verify-brick", help="check name and structure of a brick")
    verify.add_argument("--key", metavar="KEYFILE", help="check the sealed TOC too")
    verify.add_argument("brick", metavar="FILE")
    notes = commands.add_parser("notes", help="list leases, dead lists and damage marks of a store")
    notes.add_argument("--key", required=True, metavar="KEYFILE")
    notes.add_argument("store", metavar="STORE")
    parity = commands.add_parser("parity-check", help="say which bricks and parity files are missing or damaged")
    parity.add_argument("dirs", nargs="+", metavar="DIR")
    mended = commands.add_parser("parity-repair", help="bring bricks back from parity")
    mended.add_argument("--to", required=True, metavar="OUT", help="where to write them")
    mended.add_argument("dirs", nargs="+", metavar="DIR")
    return parser.parse_args()


def run(arguments) -> int:
    passphrase = os.environb.get(b"DTAR_PASSPHRASE")
    keyfile = getattr(arguments, "key", None)
    key = load_key(keyfile, passphrase) if keyfile else None
    if arguments.command == "restore":
        snapshot = arguments.index.endswith(".snap")
        view = read_snapshot(arguments.index, key) if snapshot else read_index(arguments.index)
        index = Index(view, key)
        Restorer(index, key, arguments.bricks).restore(sys.stdout.buffer)
    elif arguments.command == "verify-brick":
        print(verify_brick(arguments.brick, key))
    elif arguments.command == "notes":
        for path, note in list_notes(arguments.store, key):
            print(f"{path}: {note}")
    elif arguments.command == "parity-check":
        lines = check(arguments.dirs)
        print("\n".join(lines) or "nothing is missing or damaged")
        return int(bool(lines))
    else:
        print("\n".join(repair(arguments.dirs, arguments.to)) or "nothing is missing or damaged")
    return 0


def main() -> int:
    try:
        return run(_arguments())
    except (FormatError, OSError) as e:
        print(f"dtar-reference: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
