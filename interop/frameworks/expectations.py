"""What an application should have written: the values of each key in their order.

Record n of the input has one of a few keys, and the value 0, 1, 2 and so on of its key. An application that copies
writes the same; one that counts writes 1, 2, 3 and so on for each key.
"""

KEYS = 13

Series = dict[str, list[int]]


def key(n: int) -> str:
    return f"key{n % KEYS}"


def value(n: int) -> int:
    return n // KEYS


def copies(fed: int) -> Series:
    return {key(first): list(range(len(range(first, fed, KEYS)))) for first in range(min(KEYS, fed))}


def counts(fed: int) -> Series:
    return {name: [value + 1 for value in values] for name, values in copies(fed).items()}


def missing(seen: Series, expected: Series) -> dict[str, int]:
    """How many values each key lacks, of keys that lack some."""
    lacks = {name: len(set(values) - set(seen.get(name, ()))) for name, values in expected.items()}
    return {name: count for name, count in lacks.items() if count}


def short(seen: Series, fed: int) -> dict[str, int]:
    """How many different values each key has less than it was fed, copied or counted."""
    lacks = {name: len(values) - len(set(seen.get(name, ()))) for name, values in copies(fed).items()}
    return {name: count for name, count in lacks.items() if count > 0}


def fault_of_copies(seen: Series, fed: int, *, exactly: bool) -> str:
    """Why the copies are wrong, or nothing. A copy that is at least once may repeat records."""
    expected = copies(fed)
    if exactly:
        return difference(seen, expected)
    unknown = missing(expected, seen)
    return f"lost: {lost}" if (lost := missing(seen, expected)) else f"never fed: {unknown}" if unknown else ""


def fault_of_counts(seen: Series, fed: int, *, exactly: bool) -> str:
    """Why the counts are wrong, or nothing. A count that is at least once may be too high."""
    expected = counts(fed)
    if exactly:
        return difference(seen, expected)
    low = {name: max(seen.get(name, [0])) for name in expected if max(seen.get(name, [0])) < expected[name][-1]}
    return f"too low: {low}" if low else ""


def difference(seen: Series, expected: Series) -> str:
    lines = []
    for name in sorted(seen.keys() | expected.keys()):
        got, wanted = seen.get(name, []), expected.get(name, [])
        if got != wanted:
            pairs = enumerate(zip(got, wanted, strict=False))
            at = next((place for place, (one, other) in pairs if one != other), min(len(got), len(wanted)))
            lines.append(f"{name}: after {got[max(0, at - 3) : at]} comes {got[at : at + 3]} for {wanted[at : at + 3]}")
    return "\n".join(lines[:6])
