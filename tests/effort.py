"""How many random examples the tests try: a part of them in ``make test``, all of them in ``make test-long``.

Every test runs in both. What differs is how many seeds, sequences and crash points each one takes.
"""

import os

LONG = os.environ.get("KWIRE_TESTS") == "long"
_PART = 2


def examples(count):
    """``count`` in the long run, half of it otherwise."""
    return count if LONG else max(1, count // _PART)


def some(items, *, first, of=3):
    """All of ``items`` in the long run, else every third from ``first`` on, so that several tests share them out."""
    return list(items) if LONG else list(items)[first % of :: of]
