"""A kwire broker that lies, to show that the checker notices: ``liar.py LIE serve ...`` instead of ``kwire serve ...``.

    drop       some batches of producers without idempotence are acknowledged and not appended
    twice      some batches of idempotent producers are appended twice
    show       the marker of an aborted transaction says that it was committed

Responsible for: the lies. Must not depend on: the checker. Only ``python -m interop cluster --lie`` starts it.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

from kwire.broker.coordination.transactions.markers import Marker, MarkerWriter
from kwire.broker.partitions.partition import Partition
from kwire.cli.main import main
from kwire.storage.stamping import Appended

_EVERY = 23

_append = Partition.append


def _is_data(partition: Partition) -> bool:
    return not partition.topic.startswith("__")


def drop() -> None:
    numbers = itertools.count(1)

    def append(self: Partition, batch: memoryview, header: Any, **more: Any) -> Any:
        if header.producer_id >= 0 or not _is_data(self) or next(numbers) % _EVERY:
            return _append(self, batch, header, **more)
        last_offset = self.log.end_offset - 1
        return Appended(last_offset - header.last_offset_delta, last_offset, -1, 0, duplicate=True)

    Partition.append = append  # type: ignore[method-assign]


def twice() -> None:
    numbers = itertools.count(1)

    def append(self: Partition, batch: memoryview, header: Any, **more: Any) -> Any:
        appended = _append(self, batch, header, **more)
        if header.producer_id >= 0 and _is_data(self) and not next(numbers) % _EVERY:
            self.append_own(bytes(batch))
        return appended

    Partition.append = append  # type: ignore[method-assign]


def show() -> None:
    write = MarkerWriter.append

    def append(self: MarkerWriter, where: Any, marker: Marker) -> Any:
        return write(self, where, marker._replace(committed=True))

    MarkerWriter.append = append  # type: ignore[method-assign]


LIES = {"drop": drop, "twice": twice, "show": show}

if __name__ == "__main__":
    LIES[sys.argv.pop(1)]()
    main()
