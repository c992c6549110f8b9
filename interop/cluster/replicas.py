"""The replicas of a partition on disk: whether their logs are equal, byte for byte.

Responsible for: reading log directories while brokers are idle or stopped. Must not depend on: brokers, clients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from interop.cluster.history import Violation

_HEADER_BYTES = 61


def log_bytes(directory: Path) -> bytes:
    """The batches of a partition's directory, from segments of whatever size."""
    segments = sorted(directory.glob("*.log"), key=lambda path: int(path.stem))
    return b"".join(path.read_bytes() for path in segments)


def partition_directories(data: Path) -> Mapping[str, Path]:
    """The directories of a log directory's partitions, by ``topic-partition``; no deleted ones, no metadata."""
    return {
        path.name: path
        for path in data.iterdir()
        if path.is_dir() and path.name.rpartition("-")[2].isdigit() and not path.name.startswith("__cluster_metadata")
    }


def compare(
    data: Mapping[int, Path], *, only: Iterable[str] | None = None, growing: Collection[str] = ()
) -> list[Violation]:
    """Compare the replicas in the log directories of brokers, by node id. ``only``: these topics.

    To ``growing`` topics brokers write by themselves: a coordinator that has moved off a stopping broker ends the
    session of a member. So the log of a broker that stopped before is the beginning of the others' logs.
    """
    replicas: dict[str, dict[int, bytes]] = defaultdict(dict)
    wanted = None if only is None else set(only)
    for node_id, directory in data.items():
        for name, path in partition_directories(directory).items():
            if wanted is None or name.rpartition("-")[0] in wanted:
                replicas[name][node_id] = log_bytes(path)
    found: list[Violation] = []
    for name, by_node in sorted(replicas.items()):
        nodes = sorted(by_node)
        if name.rpartition("-")[0] in growing:
            longest = max(by_node.values(), key=len)
            by_node.update({node_id: log + longest[len(log) :] for node_id, log in by_node.items()})
        found += [
            Violation("replicas differ", _difference(name, nodes[0], other, by_node))
            for other in nodes[1:]
            if by_node[other] != by_node[nodes[0]]
        ]
    return found


def _difference(name: str, one: int, other: int, by_node: Mapping[int, bytes]) -> str:
    left, right = by_node[one], by_node[other]
    at = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return (
        f"{name}: brokers {one} and {other} have {len(left)} and {len(right)} bytes; the first difference is at byte "
        f"{at}, {_batch_at(left, at)} against {_batch_at(right, at)}"
    )


def _batch_at(log: bytes, position: int) -> str:
    """The batch that covers a position, in words."""
    at = 0
    while at + _HEADER_BYTES <= len(log):
        size = int.from_bytes(log[at + 8 : at + 12], "big") + 12
        if at + size > position:
            offset, epoch = int.from_bytes(log[at : at + 8], "big"), int.from_bytes(log[at + 12 : at + 16], "big")
            return f"the batch of offset {offset} and leader epoch {epoch}"
        at += size
    return "the end of the log"
