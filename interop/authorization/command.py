"""python -m interop authorization [--target kwire|apache] [--principals NAME ...] [--apis NAME ...] [--every N]"""

import argparse
import collections
import re
import tempfile
import time
from pathlib import Path

from interop.advertised import advertised
from interop.authorization.brokers import make
from interop.authorization.matrix import Choice, ask_all, chosen, compare
from interop.processes import end_with


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="interop authorization", description=__doc__)
    parser.add_argument("--target", choices=["kwire", "apache"], default="kwire")
    parser.add_argument("--principals", nargs="*", default=[])
    parser.add_argument("--apis", nargs="*", default=[])
    parser.add_argument("--every", type=int, default=1, help="ask each N-th question only")
    parser.add_argument("--limit", type=int, default=80, help="print this many differences")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="kwire-authorization-"))
    apache, other = make("apache", folder / "apache"), make(options.target, folder / "other")
    brokers = [apache, other]
    end_with(lambda: [broker.kill() for broker in brokers])
    started = time.monotonic()
    try:
        for broker in brokers:
            broker.start()
        served = advertised(apache) & advertised(other)
        choice = Choice(options.principals, options.apis, options.every, served)
        transcripts = [ask_all(broker, chosen(choice), choice) for broker in brokers]
    finally:
        for broker in brokers:
            broker.kill()
    lines, meant = compare(*transcripts)
    by_api = collections.Counter(match[1] for line in lines if (match := re.match(r"\S+ (\w+) v", line)))
    for line in lines[: options.limit]:
        print(line)
    seconds = time.monotonic() - started
    print(f"{len(transcripts[0])} answers compared in {seconds:.0f} s: {len(lines)} differences, {meant} meant")
    if by_api:
        print("by API:", ", ".join(f"{api} {count}" for api, count in by_api.most_common()))
        print(f"logs and data are in {folder}")
    return 1 if lines else 0
