"""dtar beside its peers: `python3 benches/compare [CORPUS…]`; see benches/README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

sys.dont_write_bytecode = True
from corpora import MAKERS, Corpus, corpus  # noqa: E402
from install import TOOLS, find_tools, say, tools_folder, versions  # noqa: E402
from measure import Failed, run, warm  # noqa: E402
from report import PHASES, Run, machine_line, report  # noqa: E402
from tools import Sandbox, Tool  # noqa: E402


def measure(tool: Tool, data: Corpus, number: int, work: Path) -> Run:
    """One run of one tool: four phases on a fresh store, then the comparison."""
    record = Run(data.name, tool.name, number)
    box = Sandbox(work / f"{data.name}-{tool.name}-{number}")
    try:
        tool.prepare(box)
        for phase in PHASES:
            stream = data.next if phase == "next" else data.new
            warm(stream)
            if phase == "restore":
                record.costs[phase] = asdict(run(tool.restore(box, "new"), box.log))
                continue
            record.costs[phase] = asdict(run(tool.archive(box, phase, stream), box.log))
            tool.after(box, phase, stream)
            record.sizes[phase] = tool.sizes(box)
        tool.check(box, data.new)
    except Failed as failure:
        record.failure = str(failure)
        say(f"{data.name} {tool.name}: {failure}")
    finally:
        shutil.rmtree(box.root, ignore_errors=True)
    return record


def measure_all(tools: list[Tool], data: Corpus, runs: int, work: Path) -> list[Run]:
    """All tools in turn, then all again: what disturbs the machine disturbs each alike."""
    records = []
    for number in range(1, runs + 1):
        for tool in tools:
            record = measure(tool, data, number, work)
            seconds = ", ".join(f"{phase} {cost['wall']:.2f}"
                                for phase, cost in record.costs.items())
            say(f"{data.name} run {number}/{runs} {tool.name}: {seconds} s")
            records.append(record)
    return records


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 benches/compare", description=__doc__)
    parser.add_argument("corpora", nargs="*", metavar="CORPUS", default=[],
                        help=f"of {', '.join(MAKERS)} (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each tool (default: 3)")
    parser.add_argument("--tools", help=f"of {', '.join(TOOLS)} (default: all that can be had and do not "
                             "take minutes a run)",
                        default=",".join(name for name, kind in TOOLS.items() if not kind.slow))
    parser.add_argument("--quick", action="store_true",
                        help="small corpora, to try the harness itself")
    parser.add_argument("--build-peers", action="store_true",
                        help="build rustic and bupstash; takes long")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw runs there")
    parser.add_argument("--work", type=Path, default=tools_folder() / "compare", metavar="DIR",
                        help="where stores are made, and removed (default: .tools/compare)")
    options = parser.parse_args()
    options.corpora = options.corpora or list(MAKERS)
    options.tools = options.tools.split(",")
    for given, known in ((options.corpora, MAKERS), (options.tools, TOOLS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    if options.runs < 1:
        parser.error("--runs must be 1 or more")
    return options


def main() -> int:
    """Exit code: 0, or 1 if a tool failed or gave other bytes back."""
    options = arguments()
    tools, absent = find_tools(options.tools, options.build_peers)
    if absent:
        say(f"left out, not installed: {', '.join(absent)}")
    about = {
        "machine": {"cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
                    "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
                    "load": os.getloadavg()[0]},
        "tools": versions(tools), "runs": options.runs, "quick": options.quick}
    say(machine_line(about))
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    # Made first, since the peak of this process is every program's least peak.
    made = [corpus(name, options.quick) for name in options.corpora]
    records = []
    for data in made:
        records += measure_all(tools, data, options.runs, work)
    print(report(about, made, tools, records))
    if options.json:
        runs = [asdict(record) for record in records]
        corpora = {data.name: data.about for data in made}
        options.json.write_text(json.dumps(about | {"corpora": corpora, "raw": runs}, indent=1))
    return 1 if any(record.failure for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
