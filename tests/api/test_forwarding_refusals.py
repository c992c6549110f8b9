"""Changes that no controller takes: each item of the request is refused, as Apache Kafka's error responses do."""

import pytest

from kwire.api.forwarding_refusals import refuse_items
from kwire.errors import Code, KafkaError
from kwire.wire import messages as m

ID = bytes(15) + b"\x05"
REFUSAL = KafkaError(Code.REQUEST_TIMED_OUT, "no active controller")


def part(name, struct, /, **fields):
    return getattr(getattr(m, f"{name}Request"), struct)(**fields)


def resources(name):
    struct = "AlterConfigsResource"
    return [part(name, struct, resource_type=kind, resource_name=key, configs=[]) for kind, key in ((2, "t"), (4, "1"))]


def each(items, *names):
    return [tuple(getattr(one, name) for name in names) for one in items]


CASES = [
    (
        m.CreateTopicsRequest(topics=[part("CreateTopics", "CreatableTopic", name=name) for name in "ab"]),
        lambda answer: answer.topics,
        ("name",),
        [("a",), ("b",)],
    ),
    (
        m.DeleteTopicsRequest(
            topics=[
                part("DeleteTopics", "DeleteTopicState", name="a"),
                part("DeleteTopics", "DeleteTopicState", name=None, topic_id=ID),
            ],
            topic_names=["c"],
        ),
        lambda answer: answer.responses,
        ("name", "topic_id"),
        [("a", bytes(16)), (None, ID), ("c", bytes(16))],
    ),
    (
        m.CreatePartitionsRequest(
            topics=[part("CreatePartitions", "CreatePartitionsTopic", name=name) for name in "ab"]
        ),
        lambda answer: answer.results,
        ("name",),
        [("a",), ("b",)],
    ),
    (
        m.AlterConfigsRequest(resources=resources("AlterConfigs")),
        lambda answer: answer.responses,
        ("resource_type", "resource_name"),
        [(2, "t"), (4, "1")],
    ),
    (
        m.IncrementalAlterConfigsRequest(resources=resources("IncrementalAlterConfigs")),
        lambda answer: answer.responses,
        ("resource_type", "resource_name"),
        [(2, "t"), (4, "1")],
    ),
    (
        m.CreateAclsRequest(creations=[part("CreateAcls", "AclCreation")] * 2),
        lambda answer: answer.results,
        (),
        [(), ()],
    ),
    (
        m.DeleteAclsRequest(filters=[part("DeleteAcls", "DeleteAclsFilter")] * 2),
        lambda answer: answer.filter_results,
        (),
        [(), ()],
    ),
    (
        m.AlterUserScramCredentialsRequest(
            deletions=[part("AlterUserScramCredentials", "ScramCredentialDeletion", name=name) for name in "ab"],
            upsertions=[part("AlterUserScramCredentials", "ScramCredentialUpsertion", name=name) for name in "bc"],
        ),
        lambda answer: answer.results,
        ("user",),
        [("a",), ("b",), ("c",)],
    ),
]


@pytest.mark.parametrize(("asked", "items", "names", "expected"), CASES, ids=lambda each: getattr(each, "NAME", ""))
def test_each_item_is_refused_with_the_code_and_the_message(asked, items, names, expected):
    refused = items(refuse_items(asked, REFUSAL))
    assert each(refused, *names) == expected
    assert {(one.error_code, one.error_message) for one in refused} == {
        (Code.REQUEST_TIMED_OUT, "no active controller")
    }


def test_each_entity_of_quotas_is_refused():
    entity = [part("AlterClientQuotas", "EntityData", entity_type="user", entity_name=name) for name in ("a", None)]
    asked = m.AlterClientQuotasRequest(entries=[part("AlterClientQuotas", "EntryData", entity=entity)])
    (refused,) = refuse_items(asked, REFUSAL).entries
    assert (refused.error_code, refused.error_message) == (Code.REQUEST_TIMED_OUT, "no active controller")
    assert each(refused.entity, "entity_type", "entity_name") == [("user", "a"), ("user", None)]


def test_a_response_with_a_code_for_the_whole_request_is_not_made_here():
    assert refuse_items(m.ElectLeadersRequest(), REFUSAL) is None
