"""Log directories that get no new partitions: ``cordoned.log.dirs`` (KIP-1066).

Responsible for: following the config, which is dynamic, and reporting to the controller, which places no partition on a
broker whose directories are all cordoned. Must not depend on: how the controller is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from kwire.broker.directories.log_dirs import LogDirs
from kwire.broker.logs import Logger
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import ResourceType
from kwire.metadata.image import Delta
from kwire.types import Uuid

log = Logger("kwire.broker")


class LogDirCordons:
    """``tell`` gets the ids of all cordoned directories; when it raises StorageFailure it is called again."""

    def __init__(self, *, dirs: LogDirs, configs: EffectiveConfigs, tell: Callable[[Sequence[Uuid]], None]) -> None:
        self._dirs = dirs
        self._configs = configs
        self._tell = tell
        self._cordoned = dirs.cordon(configs.broker["cordoned.log.dirs"])
        self._changed = trio.Event()
        self._changed.set()

    def on_metadata_delta(self, delta: Delta) -> None:
        """Cordon the directories that the current configs name."""
        if not any(resource.type is ResourceType.BROKER for resource in delta.configs_changed):
            return
        cordoned = self._dirs.cordon(self._configs.broker["cordoned.log.dirs"])
        if cordoned != self._cordoned:
            self._cordoned = cordoned
            paths = [one.path for one in self._dirs.dirs if one.is_cordoned]
            log.info("cordoned log directories changed", directories=", ".join(paths) or "none")
            self._changed.set()

    async def run(self) -> None:
        """Report to the controller, at first and after each change, until cancelled."""
        while True:
            await self._changed.wait()
            self._tell(self._cordoned)
            self._changed = trio.Event()
