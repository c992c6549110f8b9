"""Names of topics on a command line.

Responsible for: their completion in a shell, and the sentence for a name that no topic has. Must not depend on: single
commands.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Final

import click

from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.broker_option import BOOTSTRAP_VARIABLE, DEFAULT_BOOTSTRAP
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, parse_addresses
from kwire.errors import KafkaError

_COMPLETION_S: Final = 2.0


def complete_topic(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a topic, for a shell: those of the broker, or none where it does not answer."""
    bootstrap = context.params.get("bootstrap") or os.environ.get(BOOTSTRAP_VARIABLE) or DEFAULT_BOOTSTRAP
    try:
        with Cluster(parse_addresses(bootstrap), timeout_s=_COMPLETION_S) as cluster:
            return sorted(name for name in list_topics(cluster) if name.startswith(begun))
    except (ClientError, KafkaError, ValueError):
        return []


def missing(name: str, known: Iterable[str]) -> str:
    """A sentence for a topic that does not exist, with the most similar name that does."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"there is no topic {name}" + (f"; did you mean {close[0]}?" if close else "")
