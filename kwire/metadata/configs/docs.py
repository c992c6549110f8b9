"""One line of documentation for each config: its effect in Kafka, and in kwire.

Responsible for: the texts of ``docs.tsv``, which are in kwire's own words, and of ``kwire_configs.tsv``. The
file is read at first use. Must not depend on: the request.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType

from kwire.metadata.configs.definitions import broker_keys, split_listener_prefix
from kwire.metadata.configs.support import Kind, support_of


def documentation_of(name: str, *, of_broker: bool = False) -> str | None:
    """Return the line about a config, or None for a config that is not known.

    ``of_broker`` adds why a broker config has no effect in kwire, where it has none.
    """
    base = split_listener_prefix(name)[1]
    key = broker_keys().get(base)
    if key is not None and key.is_kwires:
        return key.documentation
    text = documentation().get(base)
    if text is None or key is None or not of_broker:
        return text
    support = support_of(base)
    match support.kind:
        case Kind.HONOURED:
            return text
        case Kind.MEANINGLESS:
            return f"{text} It has no effect in kwire: {support.why}."
        case Kind.NOT_SERVED:
            return f"{text} kwire does not serve it: {support.why}."


@cache
def documentation() -> MappingProxyType[str, str]:
    """Return the texts of Kafka's configs by name. A name that brokers and topics share has one text."""
    lines = Path(__file__).with_name("docs.tsv").read_text("utf-8").splitlines()[1:]
    return MappingProxyType(dict(line.split("\t") for line in lines))
