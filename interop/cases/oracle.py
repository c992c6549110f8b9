"""The oracle's stories as cases."""

import importlib
import pkgutil

import interop.oracle.stories

for _module in pkgutil.iter_modules(interop.oracle.stories.__path__, "interop.oracle.stories."):
    importlib.import_module(_module.name)
