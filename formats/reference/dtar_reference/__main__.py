"""Command line: see ../README.md."""

import argparse
import os
import sys

from .brick import verify_brick
from .index import Index, read_index
from .keys import load_key
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
    return parser.parse_args()


def run(arguments) -> None:
    passphrase = os.environb.get(b"DTAR_PASSPHRASE")
    key = load_key(arguments.key, passphrase) if arguments.key else None
    if arguments.command == "restore":
        snapshot = arguments.index.endswith(".snap")
        view = read_snapshot(arguments.index, key) if snapshot else read_index(arguments.index)
        index = Index(view, key)
        Restorer(index, key, arguments.bricks).restore(sys.stdout.buffer)
    else:
        print(verify_brick(arguments.brick, key))


def main() -> int:
    try:
        run(_arguments())
    except (FormatError, OSError) as e:
        print(f"dtar-reference: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
