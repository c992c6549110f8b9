"""Why a key or value is not decoded or encoded: one sentence.

Responsible for: the exceptions. Must not depend on: formats, HTTP.
"""

from __future__ import annotations

from typing import Final

_SENTENCE_MAX: Final = 300


class SchemaError(Exception):
    """A key or value cannot be decoded. One sentence, on one line; ``about_registry`` if it holds for all schemas."""

    def __init__(self, sentence: str, *, about_registry: bool = False) -> None:
        shown = " ".join(sentence.split())
        super().__init__(shown if len(shown) <= _SENTENCE_MAX else f"{shown[:_SENTENCE_MAX]}…")
        self.about_registry = about_registry


class TooSlow(SchemaError):
    """The same may succeed later."""


class NotEncoded(Exception):
    """The text at ``place`` of a call cannot be encoded, or with None nothing can. One sentence."""

    def __init__(self, sentence: str, place: int | None = None) -> None:
        super().__init__(sentence)
        self.place = place


def reason(error: BaseException) -> str:
    """Give the text of an exception, or its name if it has none."""
    return str(error) or type(error).__name__
