"""The tables, in markdown: medians of all runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from corpora import Corpus
from tools import Tool

PHASES = ("new", "same", "next", "restore")
#: Rows that are no peers: what the machine can do, and dtar in its other settings.
FLOORS = ("zstd", "zstd-19")
OURS = ("dtar", "dtar-index", "dtar-19")


@dataclass
class Run:
    """One run: per phase what it cost, and the sizes after it."""

    corpus: str
    tool: str
    number: int
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    failure: str | None = None


class Medians:
    """Medians over the runs of one corpus; runs that failed do not count."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = [run for run in runs if run.failure is None]

    def cost(self, tool: str, phase: str, what: str) -> float | None:
        """Of `wall`, `cpu` (seconds) or `peak` (bytes)."""
        return self._median(run.costs[phase][what] for run in self.runs if run.tool == tool)

    def size(self, tool: str, phase: str, part: str = "store") -> float | None:
        """Bytes after a phase."""
        return self._median(run.sizes[phase].get(part, 0) for run in self.runs
                            if run.tool == tool)

    def growth(self, tool: str) -> float | None:
        """Bytes that `next` adds."""
        return self._median(run.sizes["next"]["store"] - run.sizes["same"]["store"]
                            for run in self.runs if run.tool == tool)

    def parts(self, tool: str) -> list[str]:
        """The names of the parts, in order."""
        names: dict[str, None] = {}
        for run in self.runs:
            if run.tool == tool:
                for sizes in run.sizes.values():
                    names |= dict.fromkeys(sizes)
        return list(names)

    @staticmethod
    def _median(values: Iterable[float]) -> float | None:
        found = list(values)
        return median(found) if found else None


Value = Callable[[str], "float | None"]


def machine_line(about: dict[str, Any]) -> str:
    """What ran where."""
    machine = about["machine"]
    tools = ", ".join(f"{name} {version}" for name, version in about["tools"].items())
    return f"{machine['cores']} cores, {machine['memory'] / 2**30:.0f} GiB, Linux " \
           f"{machine['kernel']}, load {machine['load']:.1f} at the start; {tools}; " \
           f"medians of {about['runs']} interleaved run{'s' * (about['runs'] > 1)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table that also reads well as text."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    for i in range(1, len(head)):
        lines[1][i] = "-" * (widths[i] - 1) + ":"
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                          for i, (cell, width) in enumerate(zip(line, widths, strict=True))) + " |"
        for line in lines)


def _cell(value: float | None, unit: float, digits: int) -> str:
    return "failed" if value is None else f"{value / unit:.{digits}f}"


def _best(names: list[str], value: Value) -> tuple[str, float] | None:
    """The peer with the least value, neither dtar nor the floor."""
    known = [(found, name) for name in names if name not in OURS and name not in FLOORS
             and (found := value(name)) is not None]
    return (min(known)[1], min(known)[0]) if known else None


def _section(names: list[str], columns: list[tuple[str, Value]], unit: float, digits: int,
             floors: dict[str, float | None] | None = None) -> str:
    """One table: a row a tool; `floors` adds ratios; the last row is dtar to the best peer."""
    def cell(name: str, column: str, value: Value) -> str:
        found, floor = value(name), (floors or {}).get(column)
        text = _cell(found, unit, digits)
        return f"{text} ({found / floor:.2f}x)" if found is not None and floor else text

    rows = [[name, *(cell(name, *column) for column in columns)] for name in names]
    if own_name := next((name for name in names if name in OURS), ""):
        row = [f"{own_name} / best peer"]
        for _, value in columns:
            best, own = _best(names, value), value(own_name)
            row.append(f"{own / best[1]:.2f} ({best[0]})" if best and own and best[1] else "-")
        if any(cell != "-" for cell in row[1:]):
            rows.append(row)
    return _table(["", *(name for name, _ in columns)], rows)


def _parts(medians: Medians, name: str) -> str:
    """dtar's store by part."""
    phases = PHASES[:3]
    rows = [[part, *(_cell(medians.size(name, phase, part), 1e6, 3) for phase in phases)]
            for part in medians.parts(name)]
    return _table(["", *(f"after {phase}" for phase in phases)], rows)


def _corpus(data: Corpus, names: list[str], runs: list[Run]) -> str:
    medians = Medians(runs)

    def cost(phase: str, what: str) -> tuple[str, Value]:
        return phase, lambda name: medians.cost(name, phase, what)

    def size(phase: str) -> tuple[str, Value]:
        return f"after {phase}", lambda name: medians.size(name, phase)

    floor = next((name for name in names if name in FLOORS), "")
    floors = {phase: medians.cost(floor, phase, "wall") for phase in PHASES}
    # The floor keeps no store: only its size after new means anything.
    stores = [name for name in names if name not in FLOORS]
    zstd = medians.size(floor, "new")
    sizes = [*(size(phase) for phase in PHASES[:3]), ("growth by next", medians.growth)]
    length = data.new.stat().st_size
    out = [f"## {data.name}",
           f"{data.about}. {length:,} bytes; next: {data.next.stat().st_size:,}.",
           "Wall time in seconds" + (", and as a multiple of the floor" * bool(floor)),
           _section(names, [cost(phase, "wall") for phase in PHASES], 1, 2, floors),
           "CPU time, user and system, in seconds",
           _section(names, [cost(phase, "cpu") for phase in PHASES], 1, 2),
           "Peak memory of the largest process, MiB",
           _section(names, [cost(phase, "peak") for phase in PHASES], 2**20, 0),
           "Store, all files, in MB" + (f"; `{floor}` of new: {zstd / 1e6:.1f}" if zstd else ""),
           _section(stores, sizes, 1e6, 1, {"after new": zstd}) if stores else ""]
    for name in names:
        if name in OURS:
            out += [f"{name}'s store by part, MB (`store` is the sum; `disk` the space taken)",
                    _parts(medians, name)]
    failures = [f"- {run.tool}, run {run.number}: {run.failure.splitlines()[0]}"
                for run in runs if run.failure]
    return "\n\n".join(filter(None, out + (["\n".join(failures)] if failures else [])))


def report(about: dict[str, Any], corpora: list[Corpus], tools: list[Tool],
           runs: list[Run]) -> str:
    """All tables."""
    names = [tool.name for tool in tools]
    notes = "\n".join(f"- {tool.name}: {tool.note}" for tool in tools if tool.note)
    sections = [_corpus(data, names, [run for run in runs if run.corpus == data.name])
                for data in corpora]
    return "\n\n".join(filter(None, [machine_line(about), notes, *sections]))
