"""Runs a story against two brokers and compares the transcripts."""

import threading
from collections.abc import Callable
from typing import NamedTuple

from interop.advertised import KEYS, advertised, missing
from interop.brokers import Apache, Kwire
from interop.case import Run, Skip, World, case
from interop.oracle.asker import Asker
from interop.oracle.known import known
from interop.oracle.normal import differences

Story = Callable[[Asker], None]


class Registered(NamedTuple):
    """A story with its title, and the APIs without which a broker is not asked."""

    title: str
    apis: tuple[str, ...]
    body: Story


STORIES: list[Registered] = []


def story(row: str, *apis: str, smoke: bool = False) -> Callable[[Story], Story]:
    """Registers a story as a case. A broker that does not advertise one of the APIs is not asked: no promise."""

    def register(body: Story) -> Story:
        title = body.__name__.replace("_", "-")
        STORIES.append(Registered(title, apis or (row,), body))

        @case("oracle", row, title, smoke=smoke)
        def compare(run: Run) -> None:
            apache, other = pair(run.world)
            unserved = missing(other, apis or (row,))
            if unserved:
                raise Skip(f"{run.target} does not serve {', '.join(unserved)}")
            transcripts = []
            for broker in (apache, other):
                asker = Asker(broker.port, f"o-{title}-x", broker.name == "kwire")
                try:
                    body(asker)
                except Exception as failure:
                    last = asker.transcript[-3:]
                    raise AssertionError(
                        f"the story broke off at {broker.name}: {failure!r}; last: {last}"
                    ) from failure
                finally:
                    asker.close()
                transcripts.append(asker.transcript)
            report(title, *transcripts)

        return body

    return register


def report(title: str, apache: list, other: list) -> None:
    """Raise AssertionError for differences that are not known."""
    lines = unknown_differences(title, apache, other)
    if lines:
        shown = "\n".join(lines[:60]) + (f"\n... and {len(lines) - 60} more" if len(lines) > 60 else "")
        raise AssertionError(f"{len(lines)} differences (Apache Kafka / the broker under test)\n{shown}")


def unknown_differences(title: str, apache: list, other: list) -> list[str]:
    """Compare two transcripts; a line for each difference that is not known."""
    lines: list[str] = []
    labels = [step.label for step in apache], [step.label for step in other]
    if labels[0] != labels[1]:
        lines.append(f"steps differ: only Apache {_only(*labels)}; only the other {_only(*reversed(labels))}")
    for expected, seen in zip(apache, other, strict=False):
        if expected.label != seen.label:
            break
        lines += [f"{expected.label}{line}" for line in differences(expected.answer, seen.answer)]
    return [line for line in lines if not known(title, line)]


def _only(these: list[str], those: list[str]) -> list[str]:
    return [label for label in these if label not in those][:5]


_lock = threading.Lock()
_warm: set[int] = set()  # by process id


def pair(world: World) -> tuple[Apache | Kwire, Apache | Kwire]:
    """Apache Kafka and the broker under test, past their first-use pauses; two of Apache when that is the target."""
    with _lock:
        other = world.shared("apache", "second") if world.target == "apache" else world.shared(world.target, "oracle")
        both = world.shared("apache", "oracle"), other
        for broker in both:
            if broker.pid not in _warm:
                warm(broker)
                _warm.add(broker.pid)
        return both


def warm(broker: Apache | Kwire) -> None:
    asker = Asker(broker.port, "warm", eager=False)
    served = advertised(broker)
    for kind, key in ((0, "o-warm"), (1, "o-warm")):
        if kind == 1 and KEYS["EndTxn"] not in served:
            continue
        asker.until(
            "FindCoordinator", 3, {"keyType": kind, "key": key}, lambda got: got["errorCode"] == 0, timeout_s=40
        )
    asker.until(
        "OffsetFetch", 7, {"groupId": "o-warm", "topics": None}, lambda got: got["errorCode"] == 0, timeout_s=40
    )
    body = {"transactionalId": None, "transactionTimeoutMs": 60000, "producerId": -1, "producerEpoch": -1}
    asker.until("InitProducerId", 4, body, lambda got: got["errorCode"] == 0, timeout_s=40)
    asker.close()
