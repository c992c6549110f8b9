"""`python -m bench [table|abuse|growth|soak|scale|proxy|fixtures|document]`: what kwire costs."""

import argparse
import sys

from bench.rows import QUICK, ROWS
from bench.table import KINDS, Options, Table

_QUICK_SCALE = 0.2


def main(arguments: list[str]) -> int:
    if arguments[:1] and arguments[0] in _OTHERS:
        return _OTHERS[arguments[0]](arguments[1:])
    return _table(arguments[1:] if arguments[:1] == ["table"] else arguments)


def _table(arguments: list[str]) -> int:
    """Every row on both brokers by turns; a table with medians, spreads and ratios, and whether the promise holds."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=_table.__doc__,
        epilog="others: `abuse` (one abusive client), `growth` (how cost grows), `soak` (an hour of mixed load), "
        "`scale` (clusters), `proxy` (what it adds), `fixtures` (brokers of tests), `document` (docs/performance.md)",
    )
    parser.add_argument("rows", nargs="*", help="rows to run, by a part of their name (default: all)")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--rounds", type=int, help="default 3, with --quick 1")
    parser.add_argument(
        "--scale", type=float, help=f"how much of each load, default 1 = all, with --quick {_QUICK_SCALE}"
    )
    parser.add_argument("--quick", action="store_true", help="the promised rows only, in less than five minutes")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--pin", action="store_true", help="broker on core 0, load on core 1")
    parser.add_argument("--json", help="write everything measured to this file")
    chosen = parser.parse_args(arguments)
    known = QUICK if chosen.quick else tuple(ROWS)
    if chosen.list:
        print("\n".join(known))
        return 0
    rows = [row for row in known if not chosen.rows or any(word in row for word in chosen.rows)]
    if not rows:
        print(f"no row has a name like {chosen.rows}; rows: {', '.join(known)}", file=sys.stderr)
        return 2
    Table(
        Options(
            rows,
            rounds=chosen.rounds or (1 if chosen.quick else 3),
            scale=chosen.scale or (_QUICK_SCALE if chosen.quick else 1.0),
            kinds=[kind for kind in KINDS if chosen.only in (None, kind)],
            pin=chosen.pin,
            json=chosen.json,
        )
    ).measure()
    return 0


def _growth(arguments: list[str]) -> int:
    from bench.growth import main as growth

    return growth(arguments)


def _soak(arguments: list[str]) -> int:
    from bench.soak import main as soak

    return soak(arguments)


def _scale(arguments: list[str]) -> int:
    from bench.scale import main as scale

    return scale(arguments)


def _proxy(arguments: list[str]) -> int:
    from bench.proxy import main as proxy

    return proxy(arguments)


def _fixtures(arguments: list[str]) -> int:
    from bench.fixtures import main as fixtures

    return fixtures(arguments)


def _document(arguments: list[str]) -> int:
    from bench.document import main as document

    return document(arguments)


def _abuse(arguments: list[str]) -> int:
    from bench.abuse import main as abuse

    return abuse(arguments)


_OTHERS = {
    "abuse": _abuse,
    "growth": _growth,
    "soak": _soak,
    "scale": _scale,
    "proxy": _proxy,
    "fixtures": _fixtures,
    "document": _document,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
