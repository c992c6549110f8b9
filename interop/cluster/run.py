"""One run: clients write and read while brokers fail, then everything is compared.

Responsible for: the order of a run, and its result. Must not depend on: the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from confluent_kafka.admin import NewTopic

from interop.cluster import replicas
from interop.cluster.faults import Fault, carry_out
from interop.cluster.group_history import check_group, check_share_group
from interop.cluster.history import Contents, History, Kind, Violation, Where, check, check_copies
from interop.cluster.members import Groups, wait_until_read
from interop.cluster.rig import Rig
from interop.cluster.workload import Clients, read_all, stuck_after_silence

WRITES: Final = "writes"
TRANSACTIONS: Final = "transactions"
COPIES: Final = "copies"
_GROUP_TOPICS: Final = ("__consumer_offsets", "__share_group_state")
TOPICS: Final = {WRITES: 3, TRANSACTIONS: 3, COPIES: 3}


@dataclass(slots=True)
class Outcome:
    """``failures``: what went wrong beside broken promises, such as clients that did not end."""

    violations: list[Violation] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return not self.violations and not self.failures


def _say_nothing(_line: str) -> None:
    """The progress of a run that is a case."""


def run(
    rig: Rig,
    faults: Sequence[Fault],
    *,
    seed: int,
    transactions: bool = True,
    groups: bool = True,
    say: Callable[[str], None] = _say_nothing,
    before_check: Callable[[Rig], None] | None = None,
) -> Outcome:
    """Run clients against a started rig while ``faults`` happen, then check. ``before_check`` may spoil the logs."""

    def disturb(history: History) -> None:
        for number, fault in enumerate(faults, 1):
            before = history.acknowledged
            say(f"[{number}/{len(faults)}] {fault}")
            carry_out(rig, fault)
            if number % 2 == 0 or fault.kind in ("kill", "stop"):
                rig.wait_in_sync()
            say(f"        {history.acknowledged - before} records acknowledged meanwhile")

    outcome = run_during(rig, disturb, seed=seed, transactions=transactions, groups=groups, before_check=before_check)
    outcome.faults = len(faults)
    return outcome


def run_during(
    rig: Rig,
    disturb: Callable[[History], None],
    *,
    seed: int,
    transactions: bool = True,
    groups: bool = False,
    before_check: Callable[[Rig], None] | None = None,
) -> Outcome:
    """Run clients against a started rig until ``disturb`` returns, then check. They must progress before and after."""
    started = time.monotonic()
    history, outcome = History(), Outcome()
    create_topics(rig)
    clients = Clients(rig.bootstrap, history, seed)
    expected = ["acknowledged", *(("copied", "transactions committed") if transactions else ())]
    clients.start("idempotent", partial(clients.write, "i", WRITES, Kind.IDEMPOTENT))
    clients.start("plain", partial(clients.write, "p", WRITES, Kind.PLAIN))
    clients.start("follow", partial(clients.follow, WRITES, TOPICS[WRITES]))
    if transactions:
        clients.start("transactional", partial(clients.write_transactions, "t", TRANSACTIONS))
        clients.start("copy", partial(clients.copy, TRANSACTIONS, COPIES, "copier"))
    # The members of groups go on reading when the writers have ended.
    members = Groups(Clients(rig.bootstrap, history, seed), WRITES, TOPICS[WRITES])
    joined = []
    if groups:
        members.prepare(rig.admin())
        members.start()
        joined = [f"committed by {one.name}" for one in members.by_protocol.values()] + ["accepted in a share group"]
    outcome.failures += wait_for_progress(clients, expected, when="before")
    outcome.failures += wait_for_progress(members.clients, joined, when="before")
    disturb(history)
    outcome.failures += wait_for_progress(clients, expected, when="after")
    outcome.failures += wait_for_progress(members.clients, joined, when="after")
    clients.stop()
    rig.wait_in_sync()
    if groups:
        outcome.violations += _finish_groups(members, history)
    outcome.failures += [*clients.failures, *members.clients.failures]
    if before_check is not None:
        before_check(rig)
    finish(rig, history, outcome, transactions=transactions)
    outcome.counts = dict(sorted((clients.counts | members.clients.counts).items()))
    outcome.seconds = time.monotonic() - started
    return outcome


def wait_for_progress(clients: Clients, names: Sequence[str], *, when: str) -> list[str]:
    """Wait until each of these counts has grown or a client has failed; return a sentence for each that has not grown.

    A cluster in which nothing happens would keep every promise.
    """
    before, is_stuck = dict(clients.counts), stuck_after_silence()
    while stuck := [name for name in names if clients.counts.get(name, 0) <= before.get(name, 0)]:
        if clients.failures or is_stuck(sum(clients.counts.values())):
            return [f"nothing {name} {when} the faults; counted so far: {dict(clients.counts)}" for name in stuck]
        time.sleep(0.05)  # a poll, bounded above
    return []


def _finish_groups(members: Groups, history: History) -> list[Violation]:
    """Let all groups read to the end, and check them."""
    acknowledged = {
        (one.where, one.offset)
        for one in history.sent.values()
        if one.offset is not None and one.where is not None and one.where.topic == members.topic
    }
    wait_until_read(members, acknowledged, stuck_after_silence())
    members.clients.stop()
    found = check_share_group(members.share, acknowledged)
    for group in members.by_protocol.values():
        found += check_group(group, acknowledged)
    return found


def create_topics(rig: Rig) -> None:
    admin = rig.admin()
    futures = admin.create_topics([NewTopic(name, count, rig.replication_factor) for name, count in TOPICS.items()])
    for future in futures.values():
        future.result(60)
    rig.wait_in_sync()


def finish(rig: Rig, history: History, outcome: Outcome, *, transactions: bool) -> None:
    """Read everything, compare with the history, stop, and compare the replicas."""
    stored = read_all(rig.bootstrap, TOPICS, committed=False)
    visible = read_all(rig.bootstrap, {TRANSACTIONS: TOPICS[TRANSACTIONS], COPIES: TOPICS[COPIES]}, committed=True)
    written = {where: records for where, records in stored.items() if where.topic != COPIES}
    outcome.violations += check(history, written, {w: r for w, r in visible.items() if w.topic == TRANSACTIONS})
    if transactions:
        outcome.violations += _check_copies(visible)
    rig.assert_alive()
    rig.stop()
    outcome.violations += replicas.compare(rig.data(), growing=_GROUP_TOPICS)


def _check_copies(visible: Contents) -> list[Violation]:
    """What the copier had copied when it stopped is in the target once: a prefix of each source partition."""
    found: list[Violation] = []
    for index in range(TOPICS[TRANSACTIONS]):
        source = [value for _, value in visible[Where(TRANSACTIONS, index)]]
        target = [value for _, value in visible[Where(COPIES, index)]]
        found += check_copies(source[: len(target)], target)
    return found
