"""Configs and log levels of brokers, changed through a broker whose controller is another process."""

import pytest

from kwire.broker import logs
from kwire.errors import Code, KafkaError
from kwire.metadata.entities import ResourceType
from kwire.testing.memory.memory_cluster import CONTROLLER_ID, memory_cluster
from kwire.wire.messages import AlterConfigsRequest, IncrementalAlterConfigsRequest

SET = 0
OTHER = "Unexpected broker id, expected 1, but received 2"
BROKER, LOGGER, TOPIC = ResourceType.BROKER, ResourceType.BROKER_LOGGER, ResourceType.TOPIC


@pytest.fixture
async def cluster(autojump_clock):
    async with memory_cluster(brokers=2) as running:
        yield running


@pytest.fixture
def level():
    before = logs.level()
    yield before
    logs.set_level(before)


def set_of(resource_type, name, key, value):
    config = IncrementalAlterConfigsRequest.AlterableConfig(name=key, config_operation=SET, value=value)
    return IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=resource_type, resource_name=name, configs=[config]
    )


def all_of(resource_type, name, key, value):
    config = AlterConfigsRequest.AlterableConfig(name=key, value=value)
    return AlterConfigsRequest.AlterConfigsResource(resource_type=resource_type, resource_name=name, configs=[config])


async def altered(cluster, node_id, *resources):
    old = isinstance(resources[0], AlterConfigsRequest.AlterConfigsResource)
    request = (AlterConfigsRequest if old else IncrementalAlterConfigsRequest)(resources=list(resources))
    response = await cluster.client(node_id).request(request)
    return [(one.resource_name, one.error_code, one.error_message) for one in response.responses]


@pytest.mark.parametrize("change", [set_of, all_of])
async def test_only_a_broker_itself_takes_its_configs(cluster, change):
    answers = await altered(
        cluster,
        1,
        change(BROKER, "2", "max.connections", "70"),
        change(TOPIC, "missing", "retention.ms", "1"),
        change(BROKER, "1", "max.connections", "71"),
        change(BROKER, "one", "max.connections", "72"),
    )
    assert [(name, code) for name, code, _ in answers] == [
        ("2", Code.INVALID_REQUEST),
        ("missing", Code.UNKNOWN_TOPIC_OR_PARTITION),
        ("1", Code.NONE),
        ("one", Code.INVALID_REQUEST),
    ]
    assert answers[0][2] == OTHER
    assert answers[3][2] == "Node id must be an integer, but it is: one"
    await cluster.until(lambda: cluster.broker(1).configs.broker["max.connections"] == 71)


async def test_any_broker_takes_configs_of_all_brokers(cluster):
    ((_, code, _),) = await altered(cluster, 1, set_of(BROKER, "", "max.connections", "73"))
    assert code == Code.NONE
    await cluster.until(lambda: cluster.broker(2).configs.broker["max.connections"] == 73)


async def test_a_controller_takes_configs_of_any_broker(cluster):
    ((_, code, _),) = await altered(cluster, CONTROLLER_ID, set_of(BROKER, "2", "max.connections", "70"))
    assert code == Code.NONE


@pytest.mark.parametrize("change", [set_of, all_of])
async def test_a_part_of_the_broker_refuses_what_it_cannot_use(cluster, change):
    """For example a key store that cannot be read."""

    async def refuse(proposed):
        assert proposed.broker["max.connections"] == 71
        raise KafkaError(Code.INVALID_REQUEST, "not so many")

    cluster.broker(1).reconfiguration.add("max.connections", refuse)
    ((_, code, message),) = await altered(cluster, 1, change(BROKER, "1", "max.connections", "71"))
    assert (code, message) == (Code.INVALID_REQUEST, "not so many")
    assert not cluster.controller.image.config(BROKER, "1")


async def test_log_levels_are_those_of_the_broker_that_is_asked(cluster, level):
    ((_, code, message),) = await altered(cluster, 1, set_of(LOGGER, "2", logs.ROOT, "ERROR"))
    assert (code, message) == (Code.INVALID_REQUEST, "Unexpected node id. Expected 1, but received 2")
    assert logs.level() == level
    answers = await altered(
        cluster, 1, set_of(TOPIC, "missing", "retention.ms", "1"), set_of(LOGGER, "1", logs.ROOT, "ERROR")
    )
    assert [code for _, code, _ in answers] == [Code.UNKNOWN_TOPIC_OR_PARTITION, Code.NONE]
    assert logs.level() == "ERROR"


async def test_a_resource_that_occurs_twice_is_refused_and_the_others_are_changed(cluster, level):
    twice = set_of(LOGGER, "1", logs.ROOT, "ERROR")
    answers = await altered(cluster, 1, twice, set_of(BROKER, "1", "max.connections", "70"), twice)
    assert [code for _, code, _ in answers] == [Code.INVALID_REQUEST, Code.NONE, Code.INVALID_REQUEST]
    assert logs.level() == level


async def test_the_older_request_knows_no_log_levels(cluster):
    ((_, code, message),) = await altered(cluster, 1, all_of(LOGGER, "1", logs.ROOT, "ERROR"))
    assert (code, message) == (Code.INVALID_REQUEST, "Unknown resource type 8")
