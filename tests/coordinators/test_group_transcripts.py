"""The group coordinator, played by transcripts: see ``playback``."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playback import Playback, play

from kwire.coordinators.group.commands import (
    CommitOffsets,
    GroupConfig,
    JoinGroup,
    LeavingMember,
    OffsetToCommit,
    SyncGroup,
)
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.group.records import GroupEntry, OffsetEntry, read_record
from kwire.coordinators.group.streams.state import Epochs, epoch_record
from kwire.coordinators.machine import MetadataChange, ProducerStamp
from kwire.errors import Code

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "group"


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_the_group_coordinator_answers_as_written(path: Path) -> None:
    play(path, start)


def start(settings: dict[str, str]) -> tuple[Playback, Callable[..., None]]:
    config = GroupConfig(**{name: int(value) for name, value in settings.items()})
    playback = Playback(partial(GroupCoordinator, config), durable, show_record, soft=soft)
    return playback, partial(submit, playback)


def durable(machine: GroupCoordinator) -> object:
    offsets = machine.offsets
    return (
        *(offsets.committed, offsets.pending, offsets.open_in_group),
        *(machine.classic.records, machine.streams.parts.tables.epochs),
    )


def soft(machine: GroupCoordinator) -> object:
    """All but the deadlines of sessions, which a request extends whatever comes of it."""
    live = {group_id: group.copy() for group_id, group in machine.classic.live.items()}
    for group in live.values():
        # A copy of a group shares its members until they change.
        group.members = {member_id: member.copy() for member_id, member in group.members.items()}
        for member in group.members.values():
            member.session_deadline_ms = 0
    return durable(machine), live


def submit(playback: Playback, verb: str, words: list[str], values: dict[str, str]) -> None:
    VERBS[verb](playback, words, values)


def subscription(*topics: str) -> bytes:
    names = b"".join(struct.pack(">h", len(topic)) + topic.encode() for topic in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


def join(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """join GROUP [member=] [instance=] [client=] [protocols=a:meta,b:meta] [topics=t,u] [type=] [session=] [rebalance=]
    [old] (before KIP-394) [noskip] (before KIP-814)."""
    protocols = [each.partition(":") for each in values.get("protocols", "range:m").split(",") if each]
    topics = values.get("topics")
    client = values.get("client", "c")
    playback.run(
        playback.machine.join,
        JoinGroup(
            group_id=words[0] if words else "",
            member_id=values.get("member", ""),
            group_instance_id=values.get("instance"),
            client_id=client,
            client_host=f"/{client}",
            session_timeout_ms=int(values.get("session", "10000")),
            rebalance_timeout_ms=int(values.get("rebalance", "60000")),
            protocol_type=values.get("type", "consumer"),
            protocols=tuple(
                (name, subscription(*topics.split(",")) if topics else metadata.encode())
                for name, _, metadata in protocols
            ),
            random_suffix=str(playback.ticket_ahead()),
            member_id_required="old" not in words,
            may_skip_assignment="noskip" not in words and "old" not in words,
        ),
    )


def sync(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """sync GROUP member= generation= [instance=] [give=member:assignment,...] [type=] [protocol=]."""
    given = [each.partition(":") for each in values.get("give", "").split(",") if each]
    playback.run(
        playback.machine.sync,
        SyncGroup(
            words[0] if words else "",
            int(values["generation"]),
            values["member"],
            values.get("instance"),
            values.get("type"),
            values.get("protocol"),
            tuple((member, assignment.encode()) for member, _, assignment in given),
        ),
    )


def heartbeat(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    playback.ask(
        playback.machine.heartbeat,
        words[0] if words else "",
        int(values["generation"]),
        values["member"],
        values.get("instance"),
        now_ms=playback.now_ms,
    )


def leave(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """leave GROUP MEMBER[@INSTANCE] ...; @INSTANCE alone is an administrator's removal."""
    del values
    members = []
    for word in words[1:]:
        member, _, instance = word.partition("@")
        members.append(LeavingMember(member, instance or None))
    playback.run(playback.machine.leave, words[0] if words else "", members)


def commit(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """GROUP TOPIC-PARTITION=OFFSET ... [member=] [generation=] [instance=] [metadata=] [retention=] [producer=]."""
    known = {"member", "generation", "instance", "metadata", "retention", "producer", "id"}
    offsets = []
    for name, offset in values.items():
        if name not in known:
            topic, _, partition = name.rpartition("-")
            topic_id = values.get("id", "").encode().rjust(16, b"\0")
            offsets.append(OffsetToCommit(topic, topic_id, int(partition), int(offset), 7, values.get("metadata")))
    command = CommitOffsets(
        words[0],
        int(values.get("generation", "-1")),
        values.get("member", ""),
        values.get("instance"),
        tuple(offsets),
        retention_ms=int(values.get("retention", "-1")),
        unknown_group=Code.ILLEGAL_GENERATION if "old" in words else Code.GROUP_ID_NOT_FOUND,
    )
    if "producer" in values:
        stamp = ProducerStamp(int(values["producer"]), 0)
        playback.run(playback.machine.commit_transactional_offsets, command, stamp)
    else:
        playback.run(playback.machine.commit_offsets, command)


def fetch(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """fetch GROUP [TOPIC-PARTITION ...] [stable] [id=]."""
    require_stable = "stable" in words
    topic_id = values.get("id", "").encode().rjust(16, b"\0")
    asked = [word.rpartition("-") for word in words[1:] if word != "stable"]
    topics = [(topic, topic_id, [int(partition)]) for topic, _, partition in asked] or None
    for topic, offsets in playback.machine.fetch_offsets(words[0], topics, require_stable=require_stable):
        for each in offsets:
            kept = f"{each.offset} epoch {each.leader_epoch} {each.metadata}".rstrip()
            playback.lines.append(f"{topic}-{each.partition} {kept if each.error is Code.NONE else each.error.name}")


def forget(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """forget GROUP TOPIC-PARTITION ...: OffsetDelete."""
    del values
    asked = [word.rpartition("-") for word in words[1:]]
    playback.run(
        playback.machine.delete_offsets,
        words[0] if words else "",
        [(topic, int(partition)) for topic, _, partition in asked],
    )


def drop_topics(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    topic_id = values.get("id", "").encode().rjust(16, b"\0")
    playback.change_metadata(MetadataChange(topics_deleted=dict.fromkeys(words, topic_id)))


def append(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """append GROUP: the record that makes a streams group."""
    del values
    playback.append_foreign(epoch_record(words[0], Epochs()))


def end(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """end PRODUCER commit|abort."""
    del values
    playback.mark(int(words[0]), 0, committed=words[1] == "commit")


def advance(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    del values
    playback.advance(int(words[0]))


def fail(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """fail CODE|never: what appends from now on come to."""
    del values
    playback.fail_appends = None if words[0] == "never" else Code[words[0]]


def hold(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """Appended records are not committed until "release", or never: "lose"."""
    del words, values
    playback.is_held = True


def configure(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    """configure NAME=VALUE ...: settings that hold from the next restart on."""
    del words
    playback.make = partial(GroupCoordinator, GroupConfig(**{name: int(value) for name, value in values.items()}))


def list_groups(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    del words
    states = [each for each in values.get("states", "").split(",") if each]
    types = [each for each in values.get("types", "").split(",") if each]
    for each in filter(None, playback.machine.list_groups(states, types)):
        playback.lines.append(f"{each.group_id} {each.protocol_type or '-'} {each.state} {each.group_type}")


def timers(playback: Playback, words: list[str], values: dict[str, str]) -> None:
    del words, values
    for key, deadline_ms in sorted(playback.timers.items(), key=lambda each: (each[1], str(each[0]))):
        playback.lines.append(f"{' '.join(map(str, key))} in {deadline_ms - playback.now_ms}")


VERBS: dict[str, Callable[[Playback, list[str], dict[str, str]], Any]] = {
    "advance": advance,
    "append": append,
    "commit": commit,
    "configure": configure,
    "delete": lambda playback, words, _: playback.run(playback.machine.delete_group, words[0]),
    "describe": lambda playback, words, _: playback.ask(playback.machine.describe, words[0]),
    "drop-topics": drop_topics,
    "end": end,
    "fail": fail,
    "fetch": fetch,
    "forget": forget,
    "heartbeat": heartbeat,
    "hold": hold,
    "join": join,
    "leave": leave,
    "list": list_groups,
    "lose": lambda playback, _, __: playback.lose(),
    "release": lambda playback, _, __: playback.release(),
    "restart": lambda playback, _, __: playback.restart(),
    "sync": sync,
    "timers": timers,
}


def show_record(key: bytes, value: bytes | None) -> str:
    match read_record(key, value):
        case OffsetEntry(group, topic, partition, None):
            return f"offset {group} {topic}-{partition} forgotten"
        case OffsetEntry(group, topic, partition, offset) if offset is not None:
            expiry = "" if offset.expire_timestamp == -1 else f" until {offset.expire_timestamp}"
            return f"offset {group} {topic}-{partition} = {offset.offset}{expiry}"
        case GroupEntry(group, None):
            return f"group {group} deleted"
        case GroupEntry(group, stored) if stored is not None:
            members = " ".join(f"{each.member_id}={each.assignment.decode() or '-'}" for each in stored.members)
            return (
                f"group {group} generation {stored.generation} {stored.protocol_type or '-'}/{stored.protocol or '-'} "
                f"leader {stored.leader or '-'}: {members or 'empty'}"
            )
        case other:
            return str(other)
