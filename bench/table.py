"""Every row on both brokers by turns, several rounds."""

import compileall
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import floor
from bench.report import machine, summary, table, write_json
from bench.rows import COLD, ROWS, TLS, warm_up
from bench.run import Numbers, Run
from interop.jars import ROOT

KINDS = ("kwire", "apache")
_TOUCHED_MB = 12_000


@dataclass
class Options:
    """How the table is measured."""

    rows: Sequence[str]
    rounds: int = 3
    scale: float = 1.0
    kinds: Sequence[str] = KINDS
    pin: bool = False
    json: str | None = None


@dataclass
class Table:
    """Rows as they are measured. ``seen[row][kind]`` holds the numbers of each round."""

    options: Options
    seen: dict[str, dict[str, list[Numbers]]] = field(default_factory=dict)

    def measure(self) -> dict[str, Any]:
        options = self.options
        about = machine(options.scale, options.rounds, pinned=options.pin)
        print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
        write_bytecode()
        self.seen = {row: {kind: [] for kind in options.kinds} for row in options.rows}
        document: dict[str, Any] = {"machine": about, "floor": {}, "rows": self.seen}
        try:
            for number in range(options.rounds):
                # The second broker finds a warmer machine or a busier disk, so the order alternates.
                for kind in options.kinds if number % 2 == 0 else reversed(options.kinds):
                    for tls in (False, True):
                        rows = [row for row in options.rows if (row in TLS) is tls]
                        if rows:
                            warm_page_cache(options.scale)
                            self._round(number, kind, rows, tls=tls)
        except KeyboardInterrupt:
            print("stopped; this is what was measured", flush=True)
        print(table(self.seen))
        print(summary(self.seen))
        document["floor"] = floor.all_of(int(512 * options.scale))
        print("floor: " + ", ".join(f"{name} {value:.2f}" for name, value in document["floor"].items()))
        if options.json:
            write_json(options.json, document)
        return document

    def _round(self, number: int, kind: str, rows: Sequence[str], *, tls: bool) -> None:
        run = Run(kind, scale=self.options.scale, pin=self.options.pin, tls=tls)
        run.start()
        warm = False
        try:
            for row in rows:
                if row not in COLD and not warm:
                    self._say(number, kind, "warming up")
                    warm_up(run)
                    warm = True
                self._row(number, run, row)
        finally:
            run.stop()

    def _row(self, number: int, run: Run, row: str) -> None:
        started = time.monotonic()
        numbers = ROWS[row](run)
        self.seen[row][run.kind].append(numbers)
        shown = "  ".join(f"{name} {value:.3g}" for name, value in numbers.items())
        self._say(number, run.kind, f"{row:28} {shown}  [{time.monotonic() - started:.0f} s]")

    def _say(self, number: int, kind: str, what: str) -> None:
        print(f"round {number + 1}/{self.options.rounds} {kind:6} {what}", flush=True)


def write_bytecode() -> None:
    """Compile kwire and what it imports, as pip does: a checkout or a copied environment may have no bytecode.

    A start that compiles costs 8 MB of memory and half as much CPU again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # which the broker would inherit
    compileall.compile_dir(ROOT / "kwire", quiet=1)
    first = Run("kwire")
    first.start()
    first.stop()


def warm_page_cache(scale: float) -> None:
    """Touch more memory than a run needs: in a virtual machine a page's first touch costs ten times the later ones."""
    path = Path("kwire-bench-warm")
    chunk = b"\1" * (1 << 20)
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with path.open("wb") as file:
            for _ in range(min(int(_TOUCHED_MB * scale), available * 3 // 4 >> 20)):
                file.write(chunk)
    finally:
        path.unlink()
