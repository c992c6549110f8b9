r"""``ssl.principal.mapping.rules``: from a certificate's subject to the name of a principal (KIP-371).

Responsible for: the syntax of the rules and their results, as Apache Kafka's SslPrincipalMapper has them. Must not
depend on: certificates.

    RULE:pattern/replacement/[LU]    where the pattern matches the whole name, each match of it is replaced; L and U
                                     make the result lower or upper case
    DEFAULT                          the name as it is

The first rule that applies decides. Patterns are Java's regular expressions, and replacements Java's ($1, \$).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_RULE_TEXT: Final = r"(DEFAULT)|RULE:((\\.|[^\\/])*)/((\\.|[^\\/])*)/([LU]?).*?|(.*?)"
_SPLITTER: Final = re.compile(rf"\s*({_RULE_TEXT})\s*(,\s*|$)")
_RULE: Final = re.compile(_RULE_TEXT)
_REFERENCE: Final = re.compile(r"\$(\d+)")
# Java's POSIX classes that Python does not have; ASCII, as in Java without UNICODE_CHARACTER_CLASS.
_CLASSES: Final = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Space": r" \t\n\x0b\f\r",
    "Blank": r" \t",
}
_CLASS: Final = re.compile(r"\\p\{(\w+)\}")


class BadRule(ValueError):
    """A rule that does not parse; the message names it."""


class NoMatchingRule(ValueError):
    """No rule applies to a name, so the client has no principal."""


class _Rule(NamedTuple):
    """One rule; ``pattern`` None is DEFAULT."""

    pattern: re.Pattern[str] | None
    replacement: str
    case: str

    def apply(self, name: str) -> str | None:
        if self.pattern is None:
            return name
        if not self.pattern.fullmatch(name):
            return None
        replacement = _escape_unknown_groups(self.replacement, self.pattern.groups)
        result = _replace_all(self.pattern, replacement, name)
        return {"L": result.lower(), "U": result.upper()}.get(self.case, result)


class PrincipalMapping:
    """The rules of one listener."""

    def __init__(self, rules: str) -> None:
        """Parse the rules. Raises BadRule."""
        self._text = rules
        self._rules = [rule for text in _split(rules) if (rule := _parse(text)) is not None]

    def name_of(self, distinguished_name: str) -> str:
        """Return the principal's name. Raises NoMatchingRule, also where a rule's replacement cannot be made."""
        for rule in self._rules:
            try:
                name = rule.apply(distinguished_name)
            except (IndexError, ValueError) as error:
                raise NoMatchingRule(f"a rule of {self._text} fails on {distinguished_name}: {error}") from error
            if name is not None:
                return name
        raise NoMatchingRule(f"No rules apply to {distinguished_name}, rules {self._text}")


def _split(rules: str) -> list[str]:
    return [match[1] for match in _SPLITTER.finditer(rules.strip())]


def _parse(text: str) -> _Rule | None:
    match = _RULE.match(text)
    assert match is not None  # the last alternative matches nothing
    if match.end() != len(text):
        raise BadRule(f"Invalid rule: `{text}`, unmatched substring: `{text[match.end() :]}`")
    if match[1] is not None:
        return _Rule(None, "", "")
    if match[2] is None:
        return None
    return _Rule(_pattern(match[2]), match[4], match[6])


def _pattern(text: str) -> re.Pattern[str]:
    translated = re.sub(r"\(\?<(?=[a-zA-Z])", "(?P<", text)
    translated = re.sub(r"\\k<(\w+)>", r"(?P=\1)", translated)
    translated = _CLASS.sub(_class, translated)
    try:
        return re.compile(translated, re.ASCII)
    except re.error as error:
        raise BadRule(f"Invalid rule: the pattern `{text}` is not supported: {error}") from error


def _class(match: re.Match[str]) -> str:
    if match[1] not in _CLASSES:
        raise BadRule(f"Invalid rule: the character class {match[0]} is not supported")
    inside = match.string.count("[", 0, match.start()) > match.string.count("]", 0, match.start())
    return _CLASSES[match[1]] if inside else f"[{_CLASSES[match[1]]}]"


def _escape_unknown_groups(replacement: str, groups: int) -> str:
    """Escape the references to groups that the pattern does not have, as Kafka does if it has any group."""
    if groups == 0:
        return replacement
    escaped = replacement
    for match in _REFERENCE.finditer(replacement):
        if match[1].startswith("0"):
            continue
        number = int(match[1])
        while number > groups and number >= 10:
            number //= 10
        if number > groups:
            # Kafka inserts at the place in the unescaped text, also when an earlier backslash has moved it.
            escaped = escaped[: match.start()] + "\\" + escaped[match.start() :]
    return escaped


def _replace_all(pattern: re.Pattern[str], replacement: str, name: str) -> str:
    """Replace each match as Java's replaceAll does: after an empty match the next one begins a character later."""
    parts: list[str] = []
    done = position = 0
    while position <= len(name) and (match := pattern.search(name, position)) is not None:
        parts += [name[done : match.start()], _expand(replacement, match)]
        done = match.end()
        position = done + (match.start() == done)
    return "".join([*parts, name[done:]])


def _expand(replacement: str, match: re.Match[str]) -> str:
    """Expand a replacement as Java's Matcher.appendReplacement does. Raises IndexError, ValueError."""
    parts: list[str] = []
    position = 0
    while position < len(replacement):
        char = replacement[position]
        position += 1
        if char == "\\":
            if position == len(replacement):
                raise ValueError("character to be escaped is missing")
            parts.append(replacement[position])
            position += 1
        elif char == "$":
            group, position = _group(replacement, position, match.re)
            parts.append(match[group] or "")
        else:
            parts.append(char)
    return "".join(parts)


def _group(replacement: str, position: int, pattern: re.Pattern[str]) -> tuple[int | str, int]:
    """Read a reference behind its ``$``: the group, and where the reference ends."""
    named = re.compile(r"\{([a-zA-Z][a-zA-Z0-9]*)\}").match(replacement, position)
    if named is not None:
        return named[1], named.end()
    digits = re.compile(r"[0-9]+").match(replacement, position)
    if digits is None:
        raise ValueError("Illegal group reference")
    number, end = int(digits[0][0]), position + 1
    if number > pattern.groups:
        raise IndexError(f"No group {number}")
    for digit in digits[0][1:]:
        if number * 10 + int(digit) > pattern.groups:
            break
        number, end = number * 10 + int(digit), end + 1
    return number, end
