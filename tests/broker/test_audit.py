"""The audit log: one line for each refusal, equal ones once in a time, and what is allowed at DEBUG."""

import pytest
from peer import Peer

from kwire.broker import logs
from kwire.broker.clients import audit
from kwire.broker.clients.audit import Access, AuditLog
from kwire.errors import Code
from kwire.limits import AUDIT_KNOWN_MAX, AUDIT_REPEAT_MS
from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER
from kwire.security.operations import Operation, ResourceType
from kwire.security.principal import Principal
from kwire.wire import messages as m

EVE = Access(Principal("User", "eve"), "10.0.0.1", Operation.WRITE, ResourceType.TOPIC, "orders", "Produce")
LINE = {"principal": "User:eve", "host": "10.0.0.1", "operation": "WRITE", "resource": "TOPIC:orders", "api": "Produce"}


class Lines:
    def __init__(self):
        self.written = []

    def info(self, event, **values):
        self.written.append(("info", event, values))

    def debug(self, event, **values):
        self.written.append(("debug", event, values))


@pytest.fixture
def lines(monkeypatch):
    monkeypatch.setattr(logs._process, "threshold", logs.LEVELS["info"])
    written = Lines()
    monkeypatch.setattr(audit, "AUDIT", written)
    return written.written


@pytest.fixture
def settings():
    return {"authorizer.class.name": STANDARD_AUTHORIZER, "super.users": "User:admin"}


def committed_offset(group, topic):
    request = m.OffsetCommitRequest
    partition = request.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata="")
    topics = [request.OffsetCommitRequestTopic(name=topic, partitions=[partition])]
    return request(group_id=group, generation_id_or_member_epoch=-1, topics=topics)


def why():
    return "no ACL allows it"


def test_a_refusal_is_one_line_with_principal_operation_and_reason(lines):
    AuditLog(lambda: 0.0).log(EVE, allowed=False, why=why)

    assert lines == [("info", "access denied", {**LINE, "why": "no ACL allows it"})]


def test_equal_refusals_are_logged_once_in_a_time_and_counted(lines):
    now = [0.0]
    log = AuditLog(lambda: now[0])
    for _ in range(4):
        log.log(EVE, allowed=False, why=why)
    now[0] += AUDIT_REPEAT_MS
    log.log(EVE, allowed=False, why=why)
    log.log(EVE._replace(name="other"), allowed=False, why=why)

    assert [values.get("repeated") for _, _, values in lines] == [None, 3, None]
    assert [values["resource"] for _, _, values in lines] == ["TOPIC:orders", "TOPIC:orders", "TOPIC:other"]


def test_refusals_that_are_counted_are_bounded(lines):
    log = AuditLog(lambda: 0.0)
    for number in range(3 * AUDIT_KNOWN_MAX):
        log.log(EVE._replace(name=f"t{number}"), allowed=False, why=why)

    assert len(log._logged) <= AUDIT_KNOWN_MAX
    assert len(lines) == 3 * AUDIT_KNOWN_MAX


def test_allowed_operations_are_logged_at_debug_only(lines, monkeypatch):
    log = AuditLog(lambda: 0.0)
    log.log(EVE, allowed=True, why=why)
    assert not lines
    assert not log.logs_allowed

    monkeypatch.setattr(logs._process, "threshold", logs.LEVELS["debug"])
    log.log(EVE, allowed=True, why=why)
    assert lines == [("debug", "access allowed", {**LINE, "why": "no ACL allows it"})]
    assert log.logs_allowed


async def test_a_refused_request_is_logged_and_a_hidden_resource_is_not(broker, lines):
    peer = Peer(broker)
    await peer.create_topic("orders")
    peer.client = peer.client._replace(principal=Principal("User", "admin"))
    await peer.call(8, committed_offset("billing", "orders"))
    assert [each.group_id for each in (await peer.call(4, m.ListGroupsRequest())).groups] == ["billing"]
    peer.client = peer.client._replace(principal=Principal("User", "eve"), host="10.0.0.1")
    named = m.MetadataRequest(topics=[m.MetadataRequest.MetadataRequestTopic(name="orders")])
    answer = await peer.call(9, named)
    assert answer.topics[0].error_code == Code.TOPIC_AUTHORIZATION_FAILED
    await peer.call(9, m.MetadataRequest(topics=None))
    assert (await peer.call(4, m.ListGroupsRequest())).groups == []

    ((level, event, values),) = lines
    assert (level, event) == ("info", "access denied")
    assert values == {
        **LINE,
        "operation": "DESCRIBE",
        "api": "Metadata",
        "why": "no ACL is about the resource",
    }
