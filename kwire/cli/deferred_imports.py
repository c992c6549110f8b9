"""Modules that libraries import for something a broker seldom does, loaded at their first use.

Responsible for: which modules these are, and loading them (docs/decisions/deferred-imports.md has the measurements).
Must not depend on: kwire, libraries.

An import statement gives a module as always, but the code of the module runs when an attribute of it is first read.
``importlib.util.LazyLoader`` is not enough: with it the second ``import`` statement of a module runs the code, and in
Python 3.11 a thread can see a module that another one loads.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # importlib.abc imports modules for resources
    from importlib.abc import Loader, MetaPathFinder
else:
    Loader = MetaPathFinder = object

DEFERRED: Final = frozenset(
    (
        "attr.validators",  # attrs: of no use to classes without validators, as trio's
        "attrs.validators",
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


def defer_imports() -> None:
    """Defer the modules of ``DEFERRED`` that this process imports from now on."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in DEFERRED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Deferring(spec.loader)
        return spec


class _Load:
    """The load of a deferred module: at first use, by one thread, while others wait."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.begun = False


class _Deferring(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        module.__spec__.loader_state = _Load()
        module.__class__ = _DeferredModule


class _DeferredModule(ModuleType):
    """A module whose code has not run to its end."""

    def __getattribute__(self, name: str) -> Any:
        # Not super(): another thread may have made it a plain module since this method was looked up.
        get = ModuleType.__getattribute__
        spec: ModuleSpec = get(self, "__spec__")
        if name == "__spec__":  # read by import statements
            return spec
        load: _Load = spec.loader_state
        assert spec.loader is not None
        with load.lock:
            if not load.begun:
                load.begun = True
                try:
                    spec.loader.exec_module(self)
                except BaseException:
                    load.begun = False
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment]
        return get(self, name)
