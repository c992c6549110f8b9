"""Regular expressions of requests: RE2's language, matched in linear time (KIP-848, KIP-1152).

Responsible for: checking an expression, and the names that match it. Must not depend on: groups, transactions.

RE2 has neither backreferences nor lookaround, so no expression takes time that grows faster than the names it is
matched with; its memory is bounded too. Apache Kafka uses RE2/J, the same language in Java.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from kwire.errors import Code, KafkaError

# An expression whose program would be larger is refused, as is a longer one.
_MEMORY_BYTES_MAX = 1 << 20
_LENGTH_MAX = 64 << 10

# The beginnings of RE2's reasons, and the texts of RE2/J.
_REASONS: Final = (
    ("missing ]", "missing closing ]"),
    ("missing )", "missing closing )"),
    ("unexpected )", "regexp/syntax: internal error"),
    ("no argument for repetition operator", "missing argument to repetition operator"),
    ("bad repetition operator", "invalid nested repetition operator"),
    ("invalid repetition size", "invalid repeat count"),
    ("invalid character class range", "invalid character class range"),
    ("invalid escape sequence", "invalid escape sequence"),
    ("trailing \\", "trailing backslash at end of expression"),
    ("invalid perl operator", "invalid or unsupported Perl syntax"),
    ("invalid named capture group", "invalid named capture"),
)


def check_regex(regex: str) -> None:
    """KafkaError(INVALID_REGULAR_EXPRESSION) with RE2's reason, for an expression of a subscription."""
    _check("SubscribedTopicRegex", regex)


def transaction_matcher(pattern: str | None) -> Callable[[str], object] | None:
    """Return a function that tells whether a whole transactional id matches; None where every id does.

    Raises KafkaError(INVALID_REGULAR_EXPRESSION) with RE2's reason.
    """
    if not pattern:
        return None
    _check("Transaction ID pattern", pattern)
    matcher: Callable[[str], object] = _compile(pattern).fullmatch
    return matcher


def _check(what: str, regex: str) -> None:
    reason = why_invalid(regex)
    if reason is not None:
        message = f"{what} `{regex}` is not a valid regular expression: {reason}."
        raise KafkaError(Code.INVALID_REGULAR_EXPRESSION, message)


def why_invalid(regex: str) -> str | None:
    """RE2's reason; None for a valid expression."""
    import re2  # noqa: PLC0415 (only for requests with an expression)

    if len(regex) > _LENGTH_MAX:
        return f"longer than {_LENGTH_MAX} characters"
    try:
        _compile(regex)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        return next((words for start, words in _REASONS if text.startswith(start)), text)
    return None


def matching_topics(regexes: Iterable[str], topics: Iterable[str]) -> dict[str, frozenset[str]]:
    """By expression, the topics whose whole names match. Expressions that are not valid match nothing."""
    import re2  # noqa: PLC0415

    names = list(topics)
    found: dict[str, frozenset[str]] = {}
    for regex in regexes:
        try:
            compiled = _compile(regex)
        except re2.error:
            found[regex] = frozenset()
            continue
        found[regex] = frozenset(name for name in names if compiled.fullmatch(name))
    return found


def _compile(regex: str) -> Any:
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.max_mem = _MEMORY_BYTES_MAX
    options.log_errors = False
    # Only whole names are matched: captures of thousands of groups would take seconds.
    options.never_capture = True
    return re2.compile(regex, options)
