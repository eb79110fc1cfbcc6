"""Compares how GNU tar, bsdtar and Python's tarfile list a stream and its index.

usage: listings.py STREAM INDEX

Prints `alike N` if all three list the stream without error and alike, N members,
and then each of them lists the index as it lists the stream, but for sizes;
`apart REASON` if they do not list the stream alike, so that nothing is promised.
Ends with 1 and the first difference if the promise does not hold.
"""

import datetime
import os
import re
import stat
import subprocess
import sys
import tarfile

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC0"}
GNU_LINE = re.compile(
    rb"(?P<kind>.)(?P<mode>\S{9})\S? (?P<owner>\S+) +(?P<size>\S+) "
    rb"(?P<time>-?\d+-\d\d-\d\d \d\d:\d\d:\d\d)(?P<fraction>\.\d+)? *(?P<name>.*)"
)
BSD_LINE = re.compile(
    rb"(?P<kind>.)(?P<mode>\S{9})(?P<acl>\+?) +(?P<fraction>\d+) (?P<owner>\S+ +\S+) +(?P<size>\S+) "
    rb"(?P<time>\w{3} [ \d]\d +(?:\d\d:\d\d|\d+)) (?P<name>.*)"
)
ESCAPES = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t",
           b"v": b"\v", b"\\": b"\\"}


class Apart(Exception):
    """The stream is listed with an error, or in a way that this program cannot read."""


def unescape(text):
    """The bytes of a name as tar and bsdtar print it."""
    def one(match):
        code = match.group(1)
        return ESCAPES.get(code) or (bytes([int(code, 8) & 255]) if code.isdigit() else match.group(0))
    return re.sub(rb"\\([0-7]{3}|.)", one, text)


def printed(command, pattern, path):
    """The members as a tar program prints them."""
    run = subprocess.run([*command, path], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                         capture_output=True, check=False)
    if run.returncode != 0:
        raise Apart(f"{command[0]} ends with {run.returncode}: {run.stderr!r}")
    members = []
    for line in run.stdout.split(b"\n")[:-1]:
        match = pattern.fullmatch(line)
        if not match:
            raise Apart(f"{command[0]} prints {line!r}")
        member = match.groupdict()
        if b"," not in member["size"]:  # not a device
            del member["size"]
        member["owner"] = b" ".join(member["owner"].split())
        members.append(member)
    return members


def gnu(path):
    return printed(["tar", "--full-time", "--numeric-owner", "-tvf"], GNU_LINE, path)


def bsd(path):
    return printed(["bsdtar", "--numeric-owner", "-tvf"], BSD_LINE, path)


KINDS = {tarfile.LNKTYPE: b"h", tarfile.SYMTYPE: b"l", tarfile.CHRTYPE: b"c", tarfile.BLKTYPE: b"b",
         tarfile.DIRTYPE: b"d", tarfile.FIFOTYPE: b"p"}


def python(path):
    """The members as Python's tarfile finds them."""
    members = []
    try:
        with tarfile.open(path, "r:") as archive:
            found = archive.getmembers()
    except Exception as error:  # whatever it stumbles over, it does not list the stream
        raise Apart(f"tarfile: {error!r}") from error
    for member in found:
        info = member.get_info()
        pax = {key: value for key, value in member.pax_headers.items() if key != "size"}
        del info["size"], info["chksum"]
        name = os.fsencode(member.name)
        if member.issym():
            name += b" -> " + os.fsencode(member.linkname)
        elif member.islnk():
            name += b" link to " + os.fsencode(member.linkname)
        try:
            time = datetime.datetime.fromtimestamp(member.mtime // 1, datetime.timezone.utc)
        except (OverflowError, ValueError, OSError) as error:
            raise Apart(f"tarfile: time {member.mtime}") from error
        kind = KINDS.get(member.type, b"-")
        mode = stat.filemode(member.mode & 0o7777).encode()[1:]
        members.append({"kind": kind, "mode": mode, "name": name, "time": time, "info": info, "pax": pax})
    return members


def plain(name):
    """A name without what the programs show each in their own way."""
    return name.rstrip(b"/").lstrip(b" ")


def agreement(gnu_list, bsd_list, python_list):
    """Raises Apart where two programs list the stream differently."""
    if not len(gnu_list) == len(bsd_list) == len(python_list):
        raise Apart(f"{len(gnu_list)}, {len(bsd_list)} and {len(python_list)} members")
    for of_gnu, of_bsd, of_python in zip(gnu_list, bsd_list, python_list):
        time = of_python["time"]
        bsd_times = {time.strftime(form).encode() for form in ("%b %e %H:%M", f"%b %e  {time.year}")}
        kind = b"-" if of_gnu["kind"] == b"C" else of_gnu["kind"]
        same = (
            (kind, of_gnu["mode"]) == (of_bsd["kind"], of_bsd["mode"]) == (of_python["kind"], of_python["mode"])
            and plain(unescape(of_gnu["name"])) == plain(unescape(of_bsd["name"])) == plain(of_python["name"])
            and of_gnu["time"] == time.strftime("%Y-%m-%d %H:%M:%S").encode()
            and of_bsd["time"] in bsd_times
        )
        if not same:
            raise Apart(f"{of_gnu}, {of_bsd} and {of_python}")


def main(stream, index):
    try:
        of_stream = [reader(stream) for reader in (gnu, bsd, python)]
        agreement(*of_stream)
    except Apart as reason:
        print("apart", reason)
        return 0
    for reader, expected in zip((gnu, bsd, python), of_stream):
        try:
            found = reader(index)
        except Apart as reason:
            print(f"index: {reason}")
            return 1
        if found != expected:
            pairs = list(zip(found, expected))
            where = next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))
            print(f"{reader.__name__}: member {where} of {len(expected)} in the stream, {len(found)} in the index:")
            print(f"index:  {found[where:where + 1]}\nstream: {expected[where:where + 1]}")
            return 1
    print("alike", len(of_stream[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
