"""What the Python client programs share: picking a scenario, and values worth sending."""

import sys
from collections.abc import Callable

CODECS = ("gzip", "snappy", "lz4", "zstd")
MEGABYTE = b"m" * 1_000_000
Scenario = Callable[[str, str], None]


def shapes() -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]]:
    """Keys, values and headers as they come: null, empty, plain, binary, repeated."""
    return [
        (b"key", b"value", []),
        (None, b"no key", []),
        (b"no value", None, []),
        (b"", b"", []),
        (None, None, []),
        (b"headers", b"v", [("a", b"1"), ("a", b"2"), ("empty", b""), ("ümlaut", "ü".encode())]),
        (bytes(range(256)), bytes(range(255, -1, -1)), []),
    ]


def main(scenarios: dict[str, Scenario]) -> None:
    if sys.argv[1:] == ["--list"]:
        print("\n".join(scenarios))
        return
    bootstrap, name, prefix = sys.argv[1:4]
    scenarios[name](bootstrap, prefix)
    print("ok")


def same(seen: object, expected: object) -> None:
    assert seen == expected, f"\nseen     {_short(seen)}\nexpected {_short(expected)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 2000 else text[:1000] + " ... " + text[-900:]
