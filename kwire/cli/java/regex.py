"""Regular expressions as the broker of Apache Kafka checks them: RE2 in Java (re2j).

Responsible for: whether an expression is valid, and the error message if not. Must not depend on: any script.

Python's parser checks the expression. Constructs that RE2 lacks are refused before, and Python's reasons are translated
to those of re2j.
"""

from __future__ import annotations

import re
from typing import Final

# RE2 has no lookaround, no atomic groups, no conditions and no references.
_NOT_RE2: Final = (
    (re.compile(r"\(\?[=!>(#]"), "invalid or unsupported Perl syntax"),
    (re.compile(r"\(\?<(?:[=!]|[^>]*$)"), "invalid named capture"),
    (re.compile(r"[*+?}][*+]|\}\?[*+]|\*\?[*+]"), "invalid nested repetition operator"),
)
_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)
_REFERENCE: Final = re.compile(r"\\[1-9]")
_BOUND: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_BOUND_MAX: Final = 1000

_REASONS: Final = (
    ("nothing to repeat", "missing argument to repetition operator"),
    ("multiple repeat", "invalid nested repetition operator"),
    ("unterminated character set", "missing closing ]"),
    ("unterminated subpattern", "missing closing )"),
    ("unbalanced parenthesis", "regexp/syntax: internal error"),
    ("min repeat greater than max repeat", "invalid repeat count"),
    ("bad character range", "invalid character class range"),
    ("bad escape (end of pattern)", "trailing backslash at end of expression"),
    ("bad escape", "invalid escape sequence"),
    ("invalid group reference", "invalid escape sequence"),
    ("group name", "invalid named capture"),
    ("unknown extension", "invalid or unsupported Perl syntax"),
)


def why_invalid(expression: str) -> str | None:
    """Return why RE2 refuses an expression, or None when it is valid."""
    if _REFERENCE.search(expression.replace("\\\\", "")):
        return "invalid escape sequence"
    bare = _ESCAPED.sub("x", expression)
    for pattern, reason in _NOT_RE2:
        if pattern.search(bare):
            return reason
    if any(int(number) > _BOUND_MAX for found in _BOUND.finditer(bare) for number in found.groups() if number):
        return "invalid repeat count"
    try:
        re.compile(expression.replace("(?<", "(?P<"))
    except re.error as error:
        return next((text for words, text in _REASONS if words in error.msg), error.msg)
    return None
