"""Write ``kwire/metadata/configs/types.py`` from the config tables: which type each config's value has.

python tools/write_config_types.py
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kwire.metadata.configs.definitions import ConfigKey, broker_keys, group_keys, topic_keys  # noqa: E402
from kwire.metadata.configs.values import ConfigType  # noqa: E402 - runs from a checkout, without installing

TARGET = ROOT / "kwire" / "metadata" / "configs" / "types.py"
PYTHON = {
    ConfigType.BOOLEAN: "bool",
    ConfigType.DOUBLE: "float",
    ConfigType.LIST: "tuple[str, ...]",
} | dict.fromkeys((ConfigType.INT, ConfigType.SHORT, ConfigType.LONG), "int")
HEAD = '''\
# Written by tools/write_config_types.py from kafka_configs.tsv and kwire_configs.tsv. Do not edit.
"""The type of each config's value, for type checkers: of brokers, topics and groups."""

from __future__ import annotations

from typing import TypedDict

# fmt: off
'''


def types_text() -> str:
    """The whole file."""
    tables = {"BrokerValues": broker_keys(), "TopicValues": topic_keys(), "GroupValues": group_keys()}
    return HEAD + "".join(mapping_text(name, keys) for name, keys in tables.items())


def type_of(key: ConfigKey) -> str:
    """The Python type of a config's value; null is possible where the default is null."""
    python = PYTHON.get(key.type, "str")
    return python if key.default_text is not None or key.required else f"{python} | None"


def mapping_text(name: str, keys: Mapping[str, ConfigKey]) -> str:
    """A TypedDict, several fields a line."""
    fields = ", ".join(f'"{key.name}": {type_of(key)}' for key in sorted(keys.values(), key=lambda key: key.name))
    listed = textwrap.fill(
        # A field stays on one line: the blanks inside it must not be where a line is broken.
        fields.replace('": ', '":\0').replace(" | ", "\0|\0").replace(", ...", ",\0..."),
        width=120,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    ).replace("\0", " ")
    return f'{name} = TypedDict("{name}", {{\n{listed},\n}})\n'


if __name__ == "__main__":
    TARGET.write_text(types_text(), "utf-8")
