"""What the Python client programs share: picking a scenario, and values worth sending."""

import functools
import json
import os
import ssl
import sys
from collections.abc import Callable
from typing import Any

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


def security() -> dict[str, str]:
    """How to connect, from the environment: protocol, and paths of PEM files under ca and certificate."""
    return dict(json.loads(os.environ.get("CLIENT_SECURITY", "{}")))


def secured(maker: Any) -> Any:
    """A class of a Python client whose keywords are security_protocol and ssl_context."""
    chosen = security()
    if not chosen:
        return maker
    context = ssl.create_default_context(cafile=chosen["ca"])
    if "certificate" in chosen:
        context.load_cert_chain(chosen["certificate"])
    return functools.partial(maker, security_protocol=chosen["protocol"], ssl_context=context)


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
