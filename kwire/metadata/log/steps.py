"""Large changes of the metadata image in steps, so that others run in between.

Responsible for: how many records one step applies, and that no reader sees part of a change: it is applied to a copy,
whose content the image takes over at the end. Must not depend on: who runs in between, where records come from.

A change that fits into one step is applied to the image itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import TypeVar

from kwire.limits import METADATA_STEP_PARTITIONS, METADATA_STEP_RECORDS
from kwire.metadata.image import Delta, MetadataImage, Record
from kwire.types import TopicPartition

T = TypeVar("T")


def apply_in_steps(
    image: MetadataImage,
    steps: Iterable[Sequence[Record]],
    *,
    failed: Callable[[Record, Exception], None] | None = None,
) -> Generator[None, None, Delta]:
    """Apply records to ``image``, as ``MetadataImage.apply`` does; yields between two steps.

    Nothing else may change the image meanwhile. What ``steps`` raises is raised, and then the image is unchanged.
    """
    rest = _bounded(steps)
    first, second = next(rest, ()), next(rest, None)
    if second is None:
        return image.apply(first, failed=failed)
    staged, delta = image.copy(), Delta()
    for records in chain((first, second), rest):
        staged.apply_some(records, delta, failed=failed)
        yield
    staged.finish(delta)
    image.become(staged)
    return delta


def parts_of(delta: Delta) -> Iterator[Delta]:
    """Split a change into parts of at most ``limits.METADATA_STEP_PARTITIONS``; the first has all that is no partition.

    Between two parts the image already shows the whole change.
    """
    created, changed = delta.partitions_created, delta.partitions_changed
    if len(created) + len(changed) <= METADATA_STEP_PARTITIONS:
        yield delta
        return
    yield replace(delta, partitions_created={}, partitions_changed={})
    for some in _chunks(created):
        yield Delta(partitions_created=some)
    for some_changed in _chunks(changed):
        yield Delta(partitions_changed=some_changed)


def _chunks(partitions: Mapping[TopicPartition, T]) -> Iterator[dict[TopicPartition, T]]:
    rest = iter(partitions.items())
    while chunk := dict(islice(rest, METADATA_STEP_PARTITIONS)):
        yield chunk


def _bounded(steps: Iterable[Sequence[Record]]) -> Iterator[Sequence[Record]]:
    """Split steps that are too long; one without records stays, because reading it took its time."""
    for step in steps:
        if not step:
            yield step
        for start in range(0, len(step), METADATA_STEP_RECORDS):
            yield step[start : start + METADATA_STEP_RECORDS]
