"""What is made of one schema: how its values are read and written.

Responsible for: the type. Must not depend on: formats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Compiled(NamedTuple):
    """The two functions of a schema. Both may raise any exception for bytes or a text that do not fit.

    ``decode(payload, indexes)`` gives the name of the type, and the value as JSON. ``indexes`` are the message indexes
    of Protobuf where a header has them.

    ``encode(text, message)`` gives the bytes behind the id of the schema: of Protobuf the message indexes
    and the payload. ``text`` is JSON; ``message`` is the full name of a message of Protobuf, None for the first one.
    """

    decode: Callable[[bytes, bytes | None], tuple[str, str]]
    encode: Callable[[str, str | None], bytes]
