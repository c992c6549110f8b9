"""Lines of standard input, as console producers read them.

Responsible for: ``read_lines``. Must not depend on: what a line means.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator


def read_lines(idle: Callable[[], None], linger_s: float = 0.0) -> Iterator[bytes]:
    """Yield the lines of standard input without their ends; call ``idle`` whenever the next read would wait.

    A line ends with a line feed, a carriage return or both. On a terminal it prints a prompt.
    """
    stdin = sys.stdin.fileno()
    prompt = sys.stdin.isatty() and sys.stdout.isatty()
    rest = b""
    while True:
        if prompt:
            sys.stdout.write(">")
            sys.stdout.flush()
        if not select.select([stdin], [], [], linger_s)[0]:
            idle()
        chunk = os.read(stdin, 1 << 16)
        if not chunk:
            break
        # A carriage return at the end may be half of an end of line.
        text = (rest + chunk).replace(b"\r\n", b"\n")
        held = b"\r" if text.endswith(b"\r") else b""
        *lines, rest = text[: len(text) - len(held)].replace(b"\r", b"\n").split(b"\n")
        rest += held
        yield from lines
    if rest:
        yield from rest.removesuffix(b"\r").split(b"\n")
