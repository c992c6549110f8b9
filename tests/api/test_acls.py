"""ACLs over the APIs: created, described and deleted, refused with Apache Kafka's codes, kept, and in force at once."""

import pytest
from peer import Peer
from transactional import Producer, batch

from kwire.acls import Acl, AclFilter, Operation, PatternType, Permission, ResourceType
from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.metadata.configs.definitions import ConfigProblem
from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER
from kwire.security.acl_text import acl_text, read_acls
from kwire.security.principal import Principal
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch

CREATION = m.CreateAclsRequest.AclCreation
FILTER = m.DeleteAclsRequest.DeleteAclsFilter


@pytest.fixture
def settings():
    return {"authorizer.class.name": STANDARD_AUTHORIZER, "super.users": "User:admin"}


def client_of(broker, name, host="10.0.0.1"):
    peer = Peer(broker)
    peer.client = peer.client._replace(principal=Principal("User", name), host=host)
    return peer


@pytest.fixture
def admin(broker):
    return client_of(broker, "admin")


def creation(acl, **changed):
    fields = {
        "resource_type": acl.resource_type,
        "resource_name": acl.resource_name,
        "resource_pattern_type": acl.pattern_type,
        "principal": acl.principal,
        "host": acl.host,
        "operation": acl.operation,
        "permission_type": acl.permission,
    }
    return CREATION(**{**fields, **changed})


async def create(peer, *sentences, version=3):
    acls = [acl for sentence in sentences for acl in read_acls(sentence)]
    answer = await peer.call(version, m.CreateAclsRequest(creations=[creation(acl) for acl in acls]))
    return [(Code(one.error_code), one.error_message) for one in answer.results]


def filter_fields(wanted):
    return {
        "resource_type_filter": wanted.resource_type,
        "resource_name_filter": wanted.resource_name,
        "pattern_type_filter": wanted.pattern_type,
        "principal_filter": wanted.principal,
        "host_filter": wanted.host,
        "operation": wanted.operation,
        "permission_type": wanted.permission,
    }


async def describe(peer, version=3):
    answer = await peer.call(version, m.DescribeAclsRequest(**filter_fields(AclFilter())))
    assert answer.error_code == 0, answer.error_message
    return {
        acl_text(
            Acl(
                ResourceType(resource.resource_type),
                resource.resource_name,
                PatternType(resource.pattern_type),
                acl.principal,
                acl.host,
                Operation(acl.operation),
                Permission(acl.permission_type),
            )
        )
        for resource in answer.resources
        for acl in resource.acls
    }


async def produce(peer, topic):
    batch = build_batch([Record(0, 0, b"k", b"v", ())])
    request = m.ProduceRequest
    part = request.PartitionProduceData(index=0, records=batch)
    data = [request.TopicProduceData(name=topic, partition_data=[part])]
    answer = await peer.call(12, request(acks=-1, timeout_ms=1000, topic_data=data))
    return Code(answer.responses[0].partition_responses[0].error_code)


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_acls_are_created_described_and_deleted(admin, version):
    sentences = [
        "alice may read topic orders",
        "bob may not write topic pay* from 10.0.0.9",
        "anyone may describe cluster",
    ]
    assert await create(admin, *sentences, version=version) == [(Code.NONE, "")] * 3
    assert await describe(admin, version) == set(sentences)

    every = FILTER(**filter_fields(AclFilter(resource_type=ResourceType.TOPIC)))
    answer = await admin.call(version, m.DeleteAclsRequest(filters=[every]))
    (result,) = answer.filter_results

    assert (result.error_code, result.error_message) == (Code.NONE, None)
    assert [one.resource_name for one in result.matching_acls] == ["orders", "pay"]
    assert await describe(admin, version) == {"anyone may describe cluster"}


async def test_an_acl_is_in_force_with_the_answer_to_its_creation_and_its_deletion(admin, broker):
    await admin.create_topic("orders")
    alice = client_of(broker, "alice")
    assert await produce(alice, "orders") is Code.TOPIC_AUTHORIZATION_FAILED

    await create(admin, "alice may write topic orders")
    assert await produce(alice, "orders") is Code.NONE

    await admin.call(3, m.DeleteAclsRequest(filters=[FILTER(**filter_fields(AclFilter()))]))
    assert await produce(alice, "orders") is Code.TOPIC_AUTHORIZATION_FAILED


async def test_an_acl_for_a_host_holds_for_that_host(admin, broker):
    await admin.create_topic("orders")
    await create(admin, "alice may write topic orders", "alice may not write topic orders from 0:0:0:0:0:0:0:1")

    assert await produce(client_of(broker, "alice", "10.0.0.1"), "orders") is Code.NONE
    assert await produce(client_of(broker, "alice", "::1"), "orders") is Code.TOPIC_AUTHORIZATION_FAILED


async def test_an_acl_for_a_network_holds_for_its_addresses(admin, broker):
    await admin.create_topic("orders")
    await create(
        admin, "alice may write topic orders from 10.1.0.0/16", "alice may not all topic orders from 10.1.2.0/24"
    )

    assert await produce(client_of(broker, "alice", "10.1.3.4"), "orders") is Code.NONE
    assert await produce(client_of(broker, "alice", "10.1.2.255"), "orders") is Code.TOPIC_AUTHORIZATION_FAILED
    assert await produce(client_of(broker, "alice", "10.2.0.1"), "orders") is Code.TOPIC_AUTHORIZATION_FAILED


async def test_an_acl_for_a_network_needs_its_metadata_version(admin, broker):
    for level in (31, 32):
        broker.image._features["metadata.version"] = level
        answer = await create(admin, "alice may read topic orders from 10.0.0.0/8")
        message = "CIDR-based ACL host patterns require metadata version 4.4-IV1 or higher."
        assert answer == [(Code.UNSUPPORTED_VERSION, message) if level == 31 else (Code.NONE, "")]


async def test_an_acl_that_exists_is_accepted_and_kept_once(admin, broker):
    sentence = "alice may read topic orders"
    assert await create(admin, sentence, sentence) == [(Code.NONE, "")] * 2
    assert await create(admin, sentence) == [(Code.NONE, "")]

    assert len(broker.image.acls) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"resource_type": 99}, "Invalid resourceType UNKNOWN"),
        ({"resource_pattern_type": 99}, "Invalid patternType UNKNOWN"),
        ({"operation": 99}, "Invalid operation UNKNOWN"),
        ({"permission_type": 99}, "Invalid permissionType UNKNOWN"),
        (
            {"principal": "alice"},
            (
                "Could not parse principal from `alice` (no colon is present separating the principal type from the"
                " principal name)"
            ),
        ),
        ({"host": "10.0.0.0/33"}, "Invalid CIDR notation '10.0.0.0/33': Value [33] not in range [0,32]"),
        ({"host": ""}, "Host pattern cannot be null or empty"),
        ({"resource_name": ""}, "Invalid empty resource name"),
        ({"resource_type": 4}, "The only valid name for the CLUSTER resource is kafka-cluster"),
    ],
)
async def test_an_invalid_acl_is_refused_and_the_others_are_created(admin, broker, changed, message):
    (good,) = read_acls("alice may read topic orders")
    answer = await admin.call(3, m.CreateAclsRequest(creations=[creation(good, **changed), creation(good)]))

    refused, created = answer.results
    assert (refused.error_code, refused.error_message) == (Code.INVALID_REQUEST, message)
    assert created.error_code == Code.NONE
    assert list(broker.image.acls.values()) == [good]


@pytest.mark.parametrize(
    "changed",
    [
        {"resource_type": 1},
        {"resource_pattern_type": 1},
        {"resource_pattern_type": 2},
        {"operation": 1},
        {"permission_type": 1},
    ],
)
async def test_an_acl_with_a_value_of_filters_fails_the_whole_request(admin, broker, changed):
    (good,) = read_acls("alice may read topic orders")
    answer = await admin.call(3, m.CreateAclsRequest(creations=[creation(good), creation(good, **changed)]))

    assert [(one.error_code, one.error_message) for one in answer.results] == [(Code.UNKNOWN_SERVER_ERROR, None)] * 2
    assert not broker.image.acls


@pytest.mark.parametrize("field", ["resource_type", "resource_pattern_type", "operation", "permission_type"])
async def test_the_code_of_unknown_in_an_acl_closes_the_connection(admin, field):
    (good,) = read_acls("alice may read topic orders")
    with pytest.raises(ProtocolViolation):
        await admin.call(3, m.CreateAclsRequest(creations=[creation(good, **{field: 0})]))


@pytest.mark.parametrize("field", ["resource_type_filter", "pattern_type_filter", "operation", "permission_type"])
async def test_the_code_of_unknown_in_a_filter_closes_the_connection(admin, field):
    fields = {**filter_fields(AclFilter()), field: 0}
    with pytest.raises(ProtocolViolation):
        await admin.call(3, m.DescribeAclsRequest(**fields))
    with pytest.raises(ProtocolViolation):
        await admin.call(3, m.DeleteAclsRequest(filters=[FILTER(**fields)]))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("resource_type_filter", "Unknown patternFilter."),
        ("pattern_type_filter", "Unknown patternFilter."),
        ("operation", "Unknown entryFilter."),
        ("permission_type", "Unknown entryFilter."),
    ],
)
async def test_another_code_that_is_not_known_in_a_filter_is_refused_and_the_other_filters_count(admin, field, message):
    await create(admin, "alice may read topic orders")
    odd, every = FILTER(**{**filter_fields(AclFilter()), field: 99}), FILTER(**filter_fields(AclFilter()))
    answer = await admin.call(3, m.DeleteAclsRequest(filters=[odd, every]))

    refused, deleted = answer.filter_results
    assert (refused.error_code, refused.error_message) == (Code.INVALID_REQUEST, message)
    assert len(deleted.matching_acls) == 1


async def test_an_acl_that_two_filters_select_is_in_the_answer_to_both(admin):
    await create(admin, "alice may read topic orders")
    every = FILTER(**filter_fields(AclFilter()))
    answer = await admin.call(3, m.DeleteAclsRequest(filters=[every, every]))

    assert [len(one.matching_acls) for one in answer.filter_results] == [1, 1]


async def test_many_acls_are_created_and_deleted_in_one_request_each(admin, broker):
    acls = [f"alice may read topic t{n}" for n in range(100)]
    assert await create(admin, *acls) == [(Code.NONE, "")] * 100
    answer = await admin.call(3, m.DeleteAclsRequest(filters=[FILTER(**filter_fields(AclFilter()))]))

    assert len(answer.filter_results[0].matching_acls) == 100
    assert not broker.image.acls
    assert admin.yielded_turns


async def test_more_acls_than_a_request_may_create_or_delete_are_refused_as_a_whole(admin, broker, monkeypatch):
    monkeypatch.setattr("kwire.api.k30_create_acls.ACLS_OF_REQUEST_MAX", 3)
    monkeypatch.setattr("kwire.api.k31_delete_acls.ACLS_OF_REQUEST_MAX", 3)
    too_many = await create(admin, *(f"alice may read topic t{n}" for n in range(4)))
    assert too_many == [(Code.POLICY_VIOLATION, "Unable to perform excessively large batch operation.")] * 4
    assert not broker.image.acls

    await create(admin, *(f"alice may read topic t{n}" for n in range(3)))
    await create(admin, "alice may read topic t3")
    every = FILTER(**filter_fields(AclFilter()))
    (result,) = (await admin.call(3, m.DeleteAclsRequest(filters=[every]))).filter_results
    message = "Cannot remove more than 3 acls in a single delete operation."
    assert (result.error_code, result.error_message) == (Code.INVALID_REQUEST, message)
    assert len(broker.image.acls) == 4


async def test_acls_need_describe_or_alter_on_the_cluster(broker, admin):
    eve = client_of(broker, "eve")
    with pytest.raises(KafkaError) as refused:
        await describe(eve)
    (created,) = await create(eve, "eve may all cluster")
    answer = await eve.call(3, m.DeleteAclsRequest(filters=[FILTER(**filter_fields(AclFilter()))]))

    assert refused.value.code is Code.CLUSTER_AUTHORIZATION_FAILED
    assert created[0] is Code.CLUSTER_AUTHORIZATION_FAILED
    assert answer.filter_results[0].error_code == Code.CLUSTER_AUTHORIZATION_FAILED

    await create(admin, "eve may describe,alter cluster")
    assert await describe(eve) == {"eve may describe cluster", "eve may alter cluster"}


async def test_acls_and_decisions_are_there_after_a_restart(start_broker, settings):
    async with start_broker(**settings) as broker:
        await client_of(broker, "admin").create_topic("orders")
        await create(client_of(broker, "admin"), "alice may write topic orders", "bob may read topic orders")
        one = FILTER(**filter_fields(AclFilter(principal="User:bob")))
        await client_of(broker, "admin").call(3, m.DeleteAclsRequest(filters=[one]))
    async with start_broker(**settings) as broker:
        assert await describe(client_of(broker, "admin")) == {"alice may write topic orders"}
        assert await produce(client_of(broker, "alice"), "orders") is Code.NONE
        assert await produce(client_of(broker, "bob"), "orders") is Code.TOPIC_AUTHORIZATION_FAILED


async def test_without_an_authorizer_security_is_disabled_and_acls_are_kept(start_broker, settings):
    async with start_broker(**settings) as broker:
        await create(client_of(broker, "admin"), "alice may write topic orders")
    async with start_broker(**{"authorizer.class.name": "", "super.users": ""}) as broker:
        peer = Peer(broker)
        (created,) = await create(peer, "alice may read topic x")
        answer = await peer.call(3, m.DescribeAclsRequest(**filter_fields(AclFilter())))

        assert created == (Code.SECURITY_DISABLED, "No Authorizer is configured.")
        assert answer.error_code == Code.SECURITY_DISABLED
        assert [acl.principal for acl in broker.image.acls.values()] == ["User:alice"]


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        ({"authorizer.class.name": "com.example.Mine"}, "authorizer.class.name"),
        ({"super.users": "admin"}, "super.users"),
    ],
)
async def test_an_unknown_authorizer_stops_the_start(start_broker, settings, texts, name):
    from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
    from kwire.metadata.image import MetadataImage
    from kwire.metadata.settings.start_rules import check_start

    with pytest.raises(ConfigProblem) as refused:
        check_start(EffectiveConfigs(MetadataImage(), BrokerSettings({**settings, **texts}), node_id=1))
    assert refused.value.name == name


async def test_a_resource_without_an_acl_is_allowed_if_the_settings_say_so(start_broker, settings):
    more = {**settings, "allow.everyone.if.no.acl.found": "TRUE "}
    async with start_broker(**more) as broker:
        await client_of(broker, "admin").create_topic("orders")
        assert await produce(client_of(broker, "eve"), "orders") is Code.NONE
        await create(client_of(broker, "admin"), "alice may write topic orders")
        assert await produce(client_of(broker, "eve"), "orders") is Code.TOPIC_AUTHORIZATION_FAILED


async def test_a_topic_that_may_not_be_written_does_not_become_part_of_the_transaction(admin, broker):
    for topic in ("mine", "theirs"):
        await admin.create_topic(topic)
    await create(admin, "alice may write topic mine", "alice may write,describe transactional-id x")
    alice = Producer(client_of(broker, "alice"), "x")
    assert await alice.init() is Code.NONE
    request = m.ProduceRequest
    parts = [
        request.TopicProduceData(
            name=topic,
            partition_data=[
                request.PartitionProduceData(
                    index=0, records=batch(b"v", producer_id=alice.producer_id, epoch=alice.epoch, sequence=0)
                )
            ],
        )
        for topic in ("mine", "theirs")
    ]
    answer = await alice.client.call(12, request(transactional_id="x", acks=-1, timeout_ms=1000, topic_data=parts))
    described = await admin.call(0, m.DescribeTransactionsRequest(transactional_ids=["x"]))

    codes = {topic.name: Code(topic.partition_responses[0].error_code) for topic in answer.responses}
    assert codes == {"mine": Code.NONE, "theirs": Code.TOPIC_AUTHORIZATION_FAILED}
    assert [topic.topic for topic in described.transaction_states[0].topics] == ["mine"]


async def test_a_fetch_session_answers_a_revoked_right_without_new_records(admin, broker):
    topic_id = await admin.create_topic("orders")
    await create(admin, "alice may read topic orders")
    alice = client_of(broker, "alice")
    request = m.FetchRequest
    wanted = request.FetchTopic(
        topic_id=topic_id, partitions=[request.FetchPartition(partition=0, partition_max_bytes=1000)]
    )
    first = await alice.call(17, request(max_bytes=1000, session_epoch=0, topics=[wanted]))
    idle = await alice.call(17, request(max_bytes=1000, session_id=first.session_id, session_epoch=1))
    await admin.call(3, m.DeleteAclsRequest(filters=[FILTER(**filter_fields(AclFilter()))]))
    refused = await alice.call(17, request(max_bytes=1000, session_id=first.session_id, session_epoch=2))
    await create(admin, "alice may read topic orders")
    again = await alice.call(17, request(max_bytes=1000, session_id=first.session_id, session_epoch=3))

    assert first.session_id
    assert idle.responses == []
    assert refused.responses[0].partitions[0].error_code == Code.TOPIC_AUTHORIZATION_FAILED
    assert again.responses[0].partitions[0].error_code == Code.NONE
