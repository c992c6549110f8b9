"""Log lines: an event and its values, to stderr.

Responsible for: where lines go and their format, for the whole process, because stderr belongs to the process. Must not
depend on: what is logged.

``log = Logger("kwire.server")`` at the top of a module costs nothing. structlog is loaded when the first line is
written. Until ``configure`` is called, by ``kwire serve``, only warnings and worse are written: a broker inside
a test run writes nothing unless something is wrong.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Final, Literal, TypeAlias

Format: TypeAlias = Literal["text", "json"]
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# As Kafka's BROKER_LOGGER resources name them (KIP-412).
ROOT: Final = "root"
LEVEL_NAMES: Final = {"DEBUG": "debug", "INFO": "info", "WARN": "warning", "ERROR": "error"}


class Logger:
    """Writes the lines of one logger name. Values are shown as they are given: no secrets."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **values: object) -> None:
        self._write("debug", event, values)

    def info(self, event: str, **values: object) -> None:
        self._write("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        self._write("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        self._write("error", event, values)

    def failure(self, event: str, error: BaseException, **values: object) -> None:
        """An error with its traceback."""
        self._write("error", event, {**values, "exc_info": error})

    def _write(self, level: str, event: str, values: dict[str, object]) -> None:
        if LEVELS[level] >= _process.threshold:
            getattr(_process.writer(), level)(event, logger=self._name, **values)


def configure(*, level: str = "info", form: Format = "text") -> None:
    """Set which lines are written and how: ``text`` is for people (key=value, coloured on a terminal)."""
    _process.threshold = LEVELS[level]
    _process.form = form
    _process.made = None


def writes(level: str) -> bool:
    """Tell whether lines of a level (``debug``, ``info``) are written."""
    return LEVELS[level] >= _process.threshold


def level() -> str:
    """Name the level from which on lines are written, as Kafka does."""
    return next(name for name, ours in LEVEL_NAMES.items() if LEVELS[ours] == _process.threshold)


def set_level(name: str) -> None:
    """Write lines from this level on, by Kafka's name. Raises KeyError for another name."""
    _process.threshold = LEVELS[LEVEL_NAMES[name]]


class _Process:
    """What all loggers of this process share."""

    def __init__(self) -> None:
        self.threshold = LEVELS["warning"]
        self.form: Format = "text"
        self.made: Any = None

    def writer(self) -> Any:
        if self.made is None:
            self.made = _make_writer(self.form)
        return self.made


_process = _Process()


class _Stderr:
    """Whatever stderr is at the moment, so that a test may capture it."""

    def write_line(self, text: str) -> None:
        # A closed stderr must not end the broker.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    debug = info = warning = error = write_line


def _make_writer(form: Format) -> Any:
    structlog = _import_structlog()
    renderer = (
        structlog.processors.JSONRenderer(default=str)
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    )
    processors = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([structlog.processors.format_exc_info] if form == "json" else []),
        renderer,
    ]
    return structlog.wrap_logger(_Stderr(), processors=processors, wrapper_class=structlog.BoundLogger)


def _import_structlog() -> Any:
    # structlog imports rich where it is installed, for coloured tracebacks that we do not use: a third of the broker's
    # start-up. A None in sys.modules makes that import fail, as if it were not installed.
    hide_rich = "rich" not in sys.modules
    if hide_rich:
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: PLC0415 (start-up does not pay for it)
    finally:
        if hide_rich:
            del sys.modules["rich"]
    return structlog
