"""Does the harness notice? Run it: `python3 benches/compare/selftest.py`.

The harness on two small corpora, then programs that fail, lie or take memory.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
from corpora import corpus  # noqa: E402
from measure import Command, Failed, consume, run, same_bytes  # noqa: E402
from members import same_members  # noqa: E402

HERE = Path(__file__).resolve().parent


class Selftest(unittest.TestCase):
    """Each test has a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = Path(folder.name) / "log"

    def test_quick_corpora_pass(self) -> None:
        """The whole harness, on dtar and the floor."""
        command = [sys.executable, str(HERE), "--quick", "noise", "logs", "--tools", "dtar,zstd",
                   "--runs", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("## "), 2)
        self.assertNotIn("failed", done.stdout)

    def test_a_program_that_fails_is_told_with_its_errors(self) -> None:
        """Wherever it stands in the pipeline."""
        with self.assertRaisesRegex(Failed, "(?s)exit .3, 0.*no luck"):
            run(Command([["sh", "-c", "echo no luck >&2; exit 3"], ["cat"]]), self.log)

    def test_other_bytes_are_noticed(self) -> None:
        """One byte altered, the end missing, one byte too many."""
        original = corpus("logs", True).new
        for script in ("sed s/took=1ms/took=2ms/", "head -c 20000000", "cat - /dev/zero | head -c "
                       f"{original.stat().st_size + 1}"):
            with self.subTest(script), self.assertRaisesRegex(Failed, "differs"):
                consume(Command([["sh", "-c", script]], original), self.log,
                        same_bytes(original))
        consume(Command([["cat"]], original), self.log, same_bytes(original))

    def test_other_members_are_noticed(self) -> None:
        """Another content, a member missing."""
        original = corpus("logs", True).new
        for script in ("sed s/took=1ms/took=2ms/", "tar -f - --delete log/app-2.log"):
            with self.subTest(script), self.assertRaisesRegex(Failed, "log/app-"):
                consume(Command([["sh", "-c", script]], original), self.log,
                        same_members(original))
        consume(Command([["cat"]], original), self.log, same_members(original))

    def test_costs_are_those_of_the_program(self) -> None:
        """Neither the peak of this process nor the time of its launcher."""
        small = run(Command([["sleep", "0.2"]]), self.log)
        self.assertLess(small.peak, 8 << 20)
        self.assertLess(small.cpu, 0.1)
        self.assertGreaterEqual(small.wall, 0.2)
        hungry = "body = bytes(b'x' * (100 << 20)); sum(body[:10 << 20])"
        large = run(Command([["sh", "-c", f'{sys.executable} -c "{hungry}"; true']]), self.log)
        self.assertGreater(large.peak, 100 << 20)
        self.assertGreater(large.cpu, 0.05)


if __name__ == "__main__":
    unittest.main()
