"""JAAS configurations: the text of ``sasl.jaas.config`` and of the file that java.security.auth.login.config names.

Responsible for: the syntax, as Java's StreamTokenizer and Apache Kafka's JaasConfig read it. Must not depend on: the
meaning of options.

    org.apache.kafka.common.security.plain.PlainLoginModule required   one entry: class, control flag,
        username="admin" password="admin-secret"                       options, values quoted or one word,
        user_alice="alice-secret";                                     semicolon

A file has entries in named contexts: ``KafkaServer { ... };``. Messages never show the value of an option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

_FLAGS: Final = frozenset({"REQUIRED", "REQUISITE", "SUFFICIENT", "OPTIONAL"})
# Patterns are compiled at their first use: most brokers start without a JAAS configuration.
_LEXEME: Final = r"""(?P<blank>[\x00-\x20]+|//[^\r\n]*|/\*.*?\*/|/[^\r\n]*)
    |"(?P<double>(?:[^"\\\r\n]|\\.)*)"
    |'(?P<single>(?:[^'\\\r\n]|\\.)*)'
    |(?P<word>[A-Za-z_$\x80-\U0010ffff][\w$.\-\x80-\U0010ffff]*)
    |(?P<number>[0-9.\-][\w$.\-]*)
    |(?P<sign>.)"""
_ESCAPE: Final = r"\\([0-3]?[0-7]{1,2}|.)"
_ESCAPED: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class JaasError(ValueError):
    """The text is not a JAAS configuration; the message is a sentence without any value of it."""


class LoginModule(NamedTuple):
    """One entry: the class of the login module and its options."""

    name: str
    options: Mapping[str, str]


class _Token(NamedTuple):
    kind: str  # "text", "number", "sign" or "end"
    text: str


def parse_login_module(text: str) -> LoginModule:
    """Read the value of ``sasl.jaas.config``, which has one entry. Raises JaasError."""
    tokens = _Tokens(text)
    modules = []
    while tokens.peek().kind != "end":
        modules.append(_entry(tokens))
    if not modules:
        raise JaasError("Login module not specified in JAAS config")
    if len(modules) > 1:
        raise JaasError(f"JAAS config property contains {len(modules)} login modules, should be 1 module")
    return modules[0]


def parse_file(text: str) -> dict[str, list[LoginModule]]:
    """Read a JAAS file: the entries of each context. Raises JaasError."""
    tokens = _Tokens(text)
    contexts: dict[str, list[LoginModule]] = {}
    while tokens.peek().kind != "end":
        name = tokens.take()
        if name.kind != "text":
            raise JaasError(f"the name of a context is expected, not {name.text!r}")
        tokens.expect("{", f"after the context name {name.text}")
        entries = contexts.setdefault(name.text, [])
        while tokens.peek() != _Token("sign", "}"):
            entries.append(_entry(tokens))
        tokens.take()
        tokens.expect(";", f"after the context {name.text}")
    return contexts


def login_module_text(module: LoginModule) -> str:
    """Write an entry as ``sasl.jaas.config`` has it."""
    options = "".join(f" {_quoted_key(key)}={_quoted(value)}" for key, value in module.options.items())
    return f"{module.name} required{options};"


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next: _Token | None = None

    def peek(self) -> _Token:
        if self._next is None:
            self._next = next(self._tokens, _Token("end", "the end"))
        return self._next

    def take(self) -> _Token:
        token = self.peek()
        self._next = None
        return token

    def expect(self, sign: str, where: str) -> None:
        if self.take() != _Token("sign", sign):
            raise JaasError(f"{sign!r} is missing {where}")


def _entry(tokens: _Tokens) -> LoginModule:
    module = tokens.take()
    if module.kind != "text":
        raise JaasError("Login module not specified in JAAS config")
    flag = tokens.take()
    if flag.kind == "end":
        raise JaasError("Login module control flag not specified in JAAS config")
    if flag.kind != "text":
        raise JaasError("Login module control flag is not available in the JAAS config")
    if flag.text.upper() not in _FLAGS:
        raise JaasError(f"Invalid login module control flag '{flag.text}' in JAAS config")
    options: dict[str, str] = {}
    while tokens.peek().kind != "end" and tokens.peek() != _Token("sign", ";"):
        key = tokens.take()
        shown = key.text if key.kind == "text" else "null"
        if tokens.take() != _Token("sign", "="):
            raise JaasError(f"Value not specified for key '{shown}' in JAAS config")
        value = tokens.take()
        if value.kind != "text":
            hint = "; a value that begins with a digit must be in quotes" if value.kind == "number" else ""
            raise JaasError(f"Value not specified for key '{shown}' in JAAS config{hint}")
        options[key.text] = value.text
    if tokens.take().kind == "end":
        raise JaasError("JAAS config entry not terminated by semi-colon")
    return LoginModule(module.text, options)


def _tokens(text: str) -> Iterator[_Token]:
    for match in re.finditer(_LEXEME, text, re.DOTALL | re.VERBOSE):
        kind = match.lastgroup
        assert kind is not None
        found = match[kind]
        match kind:
            case "double" | "single":
                yield _Token("text", re.sub(_ESCAPE, _unescaped, found, flags=re.DOTALL))
            case "word":
                yield _Token("text", found)
            case "number" | "sign":
                yield _Token(kind, found)


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    return chr(int(escape, 8)) if escape.isdigit() and escape < "8" else _ESCAPED.get(escape, escape)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _quoted_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_$][\w$.\-]*", key, re.ASCII) else _quoted(key)
