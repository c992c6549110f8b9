"""What the two performance tests of consumers do with their options.

Responsible for: how many records they read, and old spellings. Must not depend on: how records are read.
"""

from __future__ import annotations

from kwire.cli.java.options import Parsed
from kwire.cli.script_twins.clients.client_properties import key_values
from kwire.cli.script_twins.common import read_config


def record_count(parsed: Parsed) -> int:
    """Refuse what both official scripts refuse; return the number of records to read."""
    if parsed.count(("messages", "num-records")) != 1:
        parsed.refuse("Exactly one of the following arguments is required: [messages], [num-records]")
    parsed.forbid("consumer.config", ["command-config"])
    if parsed.has("messages"):
        print("Warning: --messages is deprecated. Use --num-records instead.")
    if parsed.has("consumer.config"):
        print("Warning: --consumer.config is deprecated. Use --command-config instead.")
    parsed.require("bootstrap-server")
    count = parsed.number("num-records") if parsed.has("num-records") else parsed.number("messages")
    return count or 0


def consumer_properties(parsed: Parsed) -> dict[str, str]:
    """The settings that a file and the command line have."""
    path = parsed.value("command-config") or parsed.value("consumer.config")
    return {**({} if path is None else read_config(path)), **key_values(parsed.values("command-property"))}
