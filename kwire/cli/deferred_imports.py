"""Modules that libraries import for something a broker seldom does, loaded at their first use.

Responsible for: which modules these are, and loading them (docs/decisions/deferred-imports.md has the measurements).
Must not depend on: kwire, libraries.

An import statement gives a stub, which imports the module when an attribute of it is first read; from then on import
statements give the module itself. So all loading is an import as usual, also when several threads are at it.
``importlib.util.LazyLoader`` is not enough: with it the second ``import`` statement of a module runs the code, and in
Python 3.11 a thread can see a module that another one loads.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

DEFERRED: Final = frozenset(
    (
        "asyncio",  # structlog: loggers with async methods
        "hashlib",  # construct: the cache of its own compiler
        "hmac",  # trio: DTLS
        "idna",  # trio: names of hosts that are not ASCII
        "ipaddress",  # urllib.parse, which pathlib imports: IPv6 in URLs; kwire: hosts in settings and ACLs
        "pdb",  # construct: its Debugger
        "ssl",  # trio: TLS streams; kwire: TLS listeners
        "structlog.stdlib",  # structlog: the bridge to logging
        "structlog.testing",
        "structlog.threadlocal",
    )
)

_replacing: Final = threading.Lock()


def defer_imports() -> None:
    """Defer the modules of ``DEFERRED`` that this process has not imported yet."""
    for name in DEFERRED:
        sys.modules.setdefault(name, _Stub(name))
    sys.meta_path.insert(0, _LoadedSubmodules)


class _Stub(ModuleType):
    """Stands for a module where it was imported before its first use."""

    def __getattr__(self, name: str) -> Any:
        with _replacing:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value


class _LoadedSubmodules:
    """Finds a submodule whose import has loaded its deferred package, which imports it too."""

    @staticmethod
    def find_spec(fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if fullname not in sys.modules or fullname.rpartition(".")[0] not in DEFERRED:
            return None
        loader: Any = _LoadedSubmodules  # not an importlib.abc.Loader, whose module imports modules for resources
        return ModuleSpec(fullname, loader)

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    @staticmethod
    def exec_module(_module: ModuleType) -> None:
        pass
