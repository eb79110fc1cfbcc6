"""Runs commands and measures what they take."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

BLOCK = 1 << 20
#: Starts "$@" in the background, with this shell's input, and tells its process id.
LAUNCHER = 'told=$1; shift; exec 3<&0; eval "exec 4>&$told $told>&-"; ' \
           '"$@" <&3 3<&- 4>&- & echo $! >&4'


class Failed(Exception):
    """A command that did not end well, or a restore that gave other bytes."""


@dataclass(frozen=True)
class Command:
    """One program, or several joined by pipes, with its ends.

    `stdin` and `stdout` are files; `None` is `/dev/null`.
    """

    pipeline: list[list[str]]
    stdin: Path | None = None
    stdout: Path | None = None
    env: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        text = " | ".join(" ".join(argv) for argv in self.pipeline)
        if self.stdin:
            text += f" < {self.stdin}"
        return f"{text} > {self.stdout or '/dev/null'}"


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, seconds of all processors, bytes.

    `peak` is the resident memory of the largest process, its children counted
    one by one.
    """

    wall: float
    cpu: float
    peak: int


def _adopt_orphans() -> None:
    """Lets this process wait for the programs that its launchers leave behind."""
    set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _launch(argv: list[str], source: int, sink: int, errors: IO[bytes], command: Command,
            folder: Path) -> int:
    """Starts a program by way of a shell that ends at once; gives its process id.

    Linux never reports less peak memory for a program than its parent had: a child
    of Python would show 25 MiB, one of the shell shows its own.
    """
    readable, told = os.pipe()
    try:
        subprocess.run(["sh", "-c", LAUNCHER, "sh", str(told), *argv], stdin=source, stdout=sink,
                       stderr=errors, env=dict(os.environ) | command.env, cwd=folder,
                       pass_fds=[told], check=True)
        return int(os.read(readable, 32))
    finally:
        os.close(readable)
        os.close(told)


def _start(command: Command, log: Path, last: int | None) -> list[int]:
    """Starts all programs of a pipeline; `last`, if any, is where the output goes."""
    processes: list[int] = []
    source = os.open(command.stdin or os.devnull, os.O_RDONLY)
    with open(log, "ab") as errors:
        for argv in command.pipeline:
            readable = None
            if len(processes) < len(command.pipeline) - 1:
                readable, sink = os.pipe()
            elif last is not None:
                sink = last
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                sink = os.open(command.stdout or os.devnull, flags, 0o600)
            try:
                processes.append(_launch(argv, source, sink, errors, command, log.parent))
            finally:
                os.close(source)
                os.close(sink)
            if readable is not None:
                source = readable
    return processes


def _wait(processes: list[int]) -> tuple[float, int, list[int]]:
    """Waits for all; gives their CPU seconds, the largest peak, the exit codes."""
    cpu, peak, codes = 0.0, 0, []
    try:
        for process in processes:
            # A process's figures include those of the children that it waited for.
            _, status, usage = os.wait4(process, 0)
            codes.append(os.waitstatus_to_exitcode(status))
            cpu += usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss * 1024)
    except KeyboardInterrupt:
        # What a shell starts in the background does not hear the interrupt.
        for process in processes[len(codes):]:
            os.kill(process, signal.SIGKILL)
        raise
    return cpu, peak, codes


def _refuse(command: Command, log: Path, codes: list[int]) -> None:
    if any(codes):
        tail = log.read_text(errors="replace")[-2000:].strip()
        raise Failed(f"exit {codes}: {command}\n{tail}")


def run(command: Command, log: Path) -> Cost:
    """Runs a command to its end; `log` collects its standard error.

    Writes still on their way to the disk from before are waited for first, so
    that they are not charged to this command.
    """
    _adopt_orphans()
    os.sync()
    begin = time.monotonic()
    cpu, peak, codes = _wait(_start(command, log, None))
    wall = time.monotonic() - begin
    _refuse(command, log, codes)
    return Cost(wall, cpu, peak)


def consume(command: Command, log: Path, take: Callable[[int], None]) -> None:
    """Runs a command and hands `take` the descriptor that its output comes from."""
    _adopt_orphans()
    readable, sink = os.pipe()
    processes = _start(command, log, sink)
    try:
        take(readable)
    except Failed:
        for process in processes:
            os.kill(process, signal.SIGKILL)
        _wait(processes)
        raise
    finally:
        os.close(readable)
    _, _, codes = _wait(processes)
    _refuse(command, log, codes)


def read_block(descriptor: int, length: int) -> bytes:
    """Reads `length` bytes, fewer only at the end."""
    parts = []
    while length:
        part = os.read(descriptor, length)
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def same_bytes(original: Path) -> Callable[[int], None]:
    """A taker for `consume` that fails at the first byte unlike `original`."""

    def compare(descriptor: int) -> None:
        with open(original, "rb", buffering=0) as file:
            offset = 0
            while True:
                ours = read_block(descriptor, BLOCK)
                if ours != read_block(file.fileno(), BLOCK):
                    raise Failed(f"the restored stream differs from {original} "
                                 f"in the MiB from offset {offset}")
                if not ours:
                    return
                offset += len(ours)

    return compare


def warm(*paths: Path) -> None:
    """Reads files once, so that they lie in the page cache."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            buffer = bytearray(BLOCK)
            while file.readinto(buffer):
                pass


def tree_size(root: Path) -> tuple[int, int]:
    """Lengths of all files below `root`, and the space they take on the disk."""
    if root.is_file():
        paths = [root]
    else:
        paths = [Path(folder, name) for folder, _, names in os.walk(root) for name in names]
    stats = [path.lstat() for path in paths]
    return sum(stat.st_size for stat in stats), sum(stat.st_blocks * 512 for stat in stats)
