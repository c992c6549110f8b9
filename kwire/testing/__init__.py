"""What users import in their tests: a broker in one line, a pytest plugin, files that can be broken.

``from kwire.testing import KafkaBroker``. Names are imported at first use: pytest loads the plugin in every run, also
where no test asks for a broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kwire.testing.broker import KafkaBroker
    from kwire.testing.files import MemoryFiles

__all__ = ["KafkaBroker", "MemoryFiles"]


def __getattr__(name: str) -> Any:
    if name == "KafkaBroker":
        from kwire.testing.broker import KafkaBroker

        return KafkaBroker
    if name == "MemoryFiles":
        from kwire.testing.files import MemoryFiles

        return MemoryFiles
    raise AttributeError(name)
