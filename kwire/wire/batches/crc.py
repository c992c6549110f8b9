"""CRC-32C, the checksum of record batches.

Responsible for: which library computes it. Must not depend on: batches.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Final

_LIBRARY: Final = "crc32c"
_EXTENSION: Final = "crc32c._crc32c"


def _library() -> ModuleType:
    """Import the C extension of crc32c without the package around it.

    The package reads the version of its distribution, and for that imports importlib.metadata, email, zipfile and
    argparse: 15 ms of CPU and 2 MB of memory in each process.
    """
    package = importlib.util.find_spec(_LIBRARY)
    extension = None if package is None else PathFinder.find_spec(_EXTENSION, package.submodule_search_locations)
    if extension is None or extension.loader is None:
        return importlib.import_module(_LIBRARY)
    module = importlib.util.module_from_spec(extension)
    extension.loader.exec_module(module)
    return module


# Arguments: bytes or a view of bytes, and optionally the checksum of the bytes before them.
crc32c: Final[Callable[..., int]] = _library().crc32c
