"""The steps of one member from its owned partitions to its target assignment.

Responsible for: ``reconcile``, a pure function of the member, its target and the partitions of others. Must not depend
on: records, timers, the group.

    STABLE ──new target──► has it to give up anything?
                             yes: UNREVOKED_PARTITIONS   stays in its epoch until it no longer reports them
                             no:  takes what is free, moves to the epoch of the target
                                    all of it free: STABLE, else UNRELEASED_PARTITIONS until others have let go

So a partition is never owned by two members: a member takes one only after its last owner reported that it gave it up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from kwire.coordinators.group.consumer.member import NOTHING_OWNED, Member, MemberState, Owned
from kwire.coordinators.group.modern.assignment import Partitions
from kwire.errors import Code, KafkaError
from kwire.types import Uuid


@dataclass(frozen=True, slots=True)
class ReconciliationInputs:
    """The inputs of a reconciliation besides the member.

    ``owned`` are the partitions that the member reports to own; None: it did not report any. ``is_owned``: whether a
    member has the partition or must give it up. ``topics``: the ids of the topics that it subscribes to, as far as they
    exist.
    """

    target_epoch: int
    target: Partitions
    topics: Collection[Uuid]
    is_owned: Callable[[Uuid, int], bool]
    owned: Mapping[Uuid, Collection[int]] | None


def reconcile(member: Member, around: ReconciliationInputs, *, subscription_changed: bool) -> Member:
    """The next step of the member, or the member itself if it has to wait.

    ``subscription_changed``: partitions of topics that it does not subscribe to any more go at once.
    KafkaError(FENCED_MEMBER_EPOCH) for a member in a state of a newer release.
    """
    match member.state:
        case MemberState.STABLE:
            if member.epoch != around.target_epoch:
                return _next_assignment(member, member.epoch, around)
            return _without_unsubscribed(member, around) if subscription_changed else member
        case MemberState.UNREVOKED_PARTITIONS:
            if _reports_any(member.revoking, around):
                return _without_unsubscribed(member, around) if subscription_changed else member
            return _next_assignment(member, member.epoch, around)
        case MemberState.UNRELEASED_PARTITIONS:
            return _next_assignment(member, member.epoch, around)
        case _:
            if around.owned is None or around.owned:
                raise KafkaError(
                    Code.FENCED_MEMBER_EPOCH,
                    "The consumer group member is in a unknown state. "
                    "The member must abandon all its partitions and rejoin.",
                )
            return _next_assignment(member, around.target_epoch, around)


def _next_assignment(member: Member, epoch: int, around: ReconciliationInputs) -> Member:
    kept: dict[Uuid, dict[int, int]] = {}
    revoking: dict[Uuid, dict[int, int]] = {}
    added: dict[Uuid, list[int]] = {}
    has_unreleased = False
    for topic_id in dict.fromkeys([*around.target, *member.assigned]):
        target = around.target.get(topic_id, frozenset()) if topic_id in around.topics else frozenset()
        current = member.assigned.get(topic_id, {})
        own_revoking = member.revoking.get(topic_id, {})
        _put(kept, topic_id, {each: at for each, at in current.items() if each in target})
        _put(revoking, topic_id, {each: at for each, at in current.items() if each not in target})
        wanted = sorted(target - current.keys())
        # Partitions that the member itself must give up are still its own: no other member can have them.
        free = [each for each in wanted if each in own_revoking or not around.is_owned(topic_id, each)]
        has_unreleased = has_unreleased or len(free) < len(wanted)
        if free:
            added[topic_id] = free
    if revoking and _reports_any(revoking, around):
        return _moved(member, MemberState.UNREVOKED_PARTITIONS, epoch, kept, revoking)
    for topic_id, partitions in added.items():
        kept.setdefault(topic_id, {}).update(dict.fromkeys(partitions, around.target_epoch))
    state = MemberState.UNRELEASED_PARTITIONS if has_unreleased else MemberState.STABLE
    return _moved(member, state, around.target_epoch, kept, NOTHING_OWNED)


def _without_unsubscribed(member: Member, around: ReconciliationInputs) -> Member:
    """Give up the topics that it does not subscribe to any more, without a move to the target."""
    gone = {topic_id: dict(held) for topic_id, held in member.assigned.items() if topic_id not in around.topics}
    if not gone:
        return member
    kept = {topic_id: held for topic_id, held in member.assigned.items() if topic_id not in gone}
    revoking = {topic_id: dict(held) for topic_id, held in member.revoking.items()}
    for topic_id, held in gone.items():
        revoking.setdefault(topic_id, {}).update(held)
    if _reports_any(revoking, around):
        return _moved(member, MemberState.UNREVOKED_PARTITIONS, member.epoch, kept, revoking)
    # It had given them up already.
    return _moved(member, member.state, member.epoch, kept, member.revoking)


def _moved(member: Member, state: MemberState, epoch: int, assigned: Owned, revoking: Owned) -> Member:
    return replace(member, state=state, epoch=epoch, previous_epoch=member.epoch, assigned=assigned, revoking=revoking)


def _reports_any(partitions: Owned, around: ReconciliationInputs) -> bool:
    """Whether the member reports that it still owns one of them; True if it reported nothing."""
    if around.owned is None:
        return True
    return any(
        partition in partitions.get(topic_id, {}) for topic_id, held in around.owned.items() for partition in held
    )


def _put(into: dict[Uuid, dict[int, int]], topic_id: Uuid, partitions: dict[int, int]) -> None:
    if partitions:
        into[topic_id] = partitions
