"""What the two requests of a share session have in common.

Responsible for: the sessions of a broker, the names of group and member, and giving back what a member holds when it
ends its session, or its connection closes. Must not depend on: what a single request does.
"""

from __future__ import annotations

from typing import Final

from kwire.broker.broker import Broker
from kwire.broker.logs import Logger
from kwire.broker.requests.context import Context
from kwire.broker.share.sessions import SessionKey, ShareSession, ShareSessions
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType

log = Logger("kwire.share")


_MEMBER_ID_LENGTH_MAX: Final = 36


def share_sessions(broker: Broker) -> ShareSessions:
    """The sessions of all members that are connected to a broker."""
    return broker.state(_make_sessions)


def _make_sessions(broker: Broker) -> ShareSessions:
    sessions_max = broker.configs.broker["group.share.max.share.sessions"]
    return ShareSessions(sessions_max, on_group_empty=broker.share_partitions.forget_group)


def checked_names(context: Context, group_id: str | None, member_id: str | None) -> SessionKey:
    """The group and member of a request. KafkaError: INVALID_REQUEST, GROUP_AUTHORIZATION_FAILED."""
    if group_id is None:
        raise KafkaError(Code.INVALID_REQUEST)
    context.authorize(Operation.READ, ResourceType.GROUP, group_id)
    if not is_member_id(member_id):
        raise KafkaError(Code.INVALID_REQUEST)
    return SessionKey(group_id, member_id or "")


def is_member_id(member_id: str | None) -> bool:
    """Whether a member of a share group may choose this id."""
    return bool(member_id) and len(member_id or "") <= _MEMBER_ID_LENGTH_MAX


async def end_session(context: Context, session: ShareSession) -> None:
    """Release what the member holds in the partitions of its session, then end that. A refusal is logged."""
    broker = context.broker
    group_id, member_id = session.key
    for each in list(session.partitions):
        try:
            await broker.share_partitions.release(context, SharePartitionKey(group_id, *each), member_id)
        except KafkaError as refusal:
            log.debug("records not released", group=group_id, member=member_id, error=str(refusal))
    share_sessions(broker).end(session)
    context.connection.closing.pop(session.key, None)


def connection_closed(broker: Broker, session: ShareSession) -> None:
    """End the session of a member whose connection has closed, unless it has another by now."""
    if share_sessions(broker).find(session.key) is session:
        group_id, member_id = session.key
        for each in session.partitions:
            broker.share_partitions.release_soon(SharePartitionKey(group_id, *each), member_id)
        share_sessions(broker).end(session)
