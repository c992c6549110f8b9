"""Registers one case per release of the official tools."""

from collections.abc import Callable
from functools import partial

from interop.case import Run, case
from interop.jars import CURRENT

# Releases whose tools have the options of Kafka 4.
FOUR = (CURRENT, "4.3.1")
RELEASES = (*FOUR, "3.9.1", "2.8.2")
Body = Callable[["Tools"], None]


class Tools(Run):
    """A run with the tools of one release."""

    release = CURRENT


def tools(
    *, releases: tuple[str, ...] = (CURRENT,), smoke: bool = False, requires: tuple[str, ...] = ()
) -> Callable[[Body], Body]:
    def register(body: Body) -> Body:
        stem = body.__name__.replace("_", "-")
        for release in releases:
            case("tools", release, stem, smoke=smoke, requires=requires)(partial(_with_release, body, release))
        return body

    return register


def _with_release(body: Body, release: str, run: Run) -> None:
    body(_Released(run.world, run.name, release))


class _Released(Tools):
    def __init__(self, world, name, release):
        super().__init__(world, name)
        self.release = release

    def tool(self, name, *args, stdin="", release="", timeout_s=60):
        return super().tool(name, *args, stdin=stdin, release=release or self.release, timeout_s=timeout_s)

    def start_tool(self, name, *args, release=""):
        return super().start_tool(name, *args, release=release or self.release)
