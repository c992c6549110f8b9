"""`python -m bench [ROW ...]`: every row on both brokers by turns, several rounds; a table, JSON, and the ratios."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import floor
from bench.rows import ROWS, Numbers, Run, produced

KINDS = ("kwire", "apache")
_UNDER_LOAD = ("produce", "consume", "pipelined", "one in flight", "end to end")


def main() -> int:
    options = _options()
    chosen = [row for row in ROWS if not options.rows or any(word in row for word in options.rows)]
    if not chosen:
        print(f"no row has a name like {options.rows}; rows: {', '.join(ROWS)}", file=sys.stderr)
        return 2
    kinds = [kind for kind in KINDS if options.only in (None, kind)]
    print(_machine(options))
    _warm_page_cache(options.scale)
    seen: dict[str, dict[str, list[Numbers]]] = {row: {kind: [] for kind in kinds} for row in chosen}
    for number in range(options.rounds):
        for kind in kinds:
            _round(number, kind, chosen, seen, options)
    table = _table(seen, kinds)
    print(table)
    floor_mb = int(512 * options.scale)
    floors = {**floor.receive_and_write(floor_mb), "sendfile": floor.send_file(floor_mb)}
    print("floor, CPU s per GB: " + ", ".join(f"{name} {value:.2f}" for name, value in floors.items()))
    if options.json:
        document = {"machine": _machine(options), "rounds": options.rounds, "rows": seen, "floor": floors}
        Path(options.json).write_text(json.dumps(document, indent=1))
    return 0


def _round(number: int, kind: str, chosen: list[str], seen: dict, options: argparse.Namespace) -> None:
    run = Run(kind, options.scale, pin=options.pin)
    run.start()
    warm = False
    try:
        for row in chosen:
            if row.startswith(_UNDER_LOAD) and not warm:
                produced(run, 1000, 300)  # warm up: a JVM compiles what runs often
                warm = True
            started = time.monotonic()
            numbers = ROWS[row](run)
            seen[row][kind].append(numbers)
            shown = "  ".join(f"{name} {value:.3g}" for name, value in numbers.items())
            print(f"round {number + 1} {kind:6} {row:30} {shown}  [{time.monotonic() - started:.0f} s]", flush=True)
    finally:
        run.stop()


def _table(seen: dict, kinds: list[str]) -> str:
    heads = "".join(f"{kind + ' median (min-max)':>34}" for kind in kinds)
    lines = ["", f"{'row':30} {'number':20} {heads}   ratio"]
    for row, by_kind in seen.items():
        for number in by_kind[kinds[0]][0] if by_kind[kinds[0]] else ():
            cells, medians = [], []
            for kind in kinds:
                values = [numbers[number] for numbers in by_kind[kind]]
                medians.append(statistics.median(values))
                cells.append(f"{medians[-1]:.3g} ({min(values):.3g}-{max(values):.3g})")
            ratio = f"{medians[0] / medians[1]:8.2f}" if len(medians) == 2 and medians[1] else ""
            lines.append(f"{row:30} {number:20} " + "".join(f"{cell:>34}" for cell in cells) + ratio)
    return "\n".join(lines)


def _warm_page_cache(scale: float) -> None:
    """Touch more memory pages than a run needs: in a virtual machine the first touch costs ten times the later ones."""
    path = Path("kwire-bench-warm")
    chunk = b"\1" * (1 << 20)
    with path.open("wb") as file:
        for _ in range(int(4000 * scale)):
            file.write(chunk)
    path.unlink()


def _machine(options: argparse.Namespace) -> str:
    import confluent_kafka

    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    return (
        f"Apache Kafka 4.3.1 (heap 1 GB, {java[0] if java else 'no java'}), Python {platform.python_version()}, "
        f"librdkafka {confluent_kafka.libversion()[0]}, {platform.machine()}, "
        f"{'broker on core 0, client on core 1' if options.pin else 'no cores pinned'}, scale {options.scale}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", help="rows to run, by a part of their name (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each load, 1 = all of it")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--pin", action="store_true", help="broker on core 0, load on core 1")
    parser.add_argument("--json", help="write everything measured to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
