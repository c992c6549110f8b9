"""Every message of the protocol, by name: ``from kwire.wire.messages import FetchRequest``.

Responsible for: the names. A class is made from its spec at its first use. ``messages.pyi`` beside this file declares
the same to type checkers; ``tools/write_stub.py`` writes it and a test asserts that it is up to date.
"""

from __future__ import annotations

from kwire.wire import spec
from kwire.wire.message import Message, make_class

__all__ = ["Message"]


def __getattr__(name: str) -> type[Message]:
    try:
        message = make_class(spec.load(name))
    except KeyError:
        raise AttributeError(f"the protocol has no message {name!r}") from None
    globals()[name] = message
    return message


def __dir__() -> list[str]:
    return [*globals(), *spec.names()]
