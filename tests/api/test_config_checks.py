"""Changes of configs that depend on more than one value: each answer is what Apache Kafka gave to the same request."""

import pytest

from kwire.errors import Code
from kwire.wire import messages as m

SET, DELETE, APPEND, SUBTRACT = range(4)
TOPIC, BROKER, METRICS, GROUP = 2, 4, 16, 32
WEEK_MS = 7 * 24 * 3600 * 1000


async def change(client, resource, key, operation, value):
    resource_type, name = resource
    request = m.IncrementalAlterConfigsRequest
    one = request.AlterableConfig(name=key, config_operation=operation, value=value)
    wanted = request.AlterConfigsResource(resource_type=resource_type, resource_name=name, configs=[one])
    answer = (await client.call(1, request(resources=[wanted]))).responses[0]
    return answer.error_code, answer.error_message


@pytest.mark.parametrize("operation", [APPEND, SUBTRACT])
@pytest.mark.parametrize("key", ["interval.ms", "metrics", "match", "no.such"])
async def test_no_config_of_client_metrics_counts_as_a_list(client, key, operation):
    code, message = await change(client, (METRICS, "subscription"), key, operation, "100")

    word = {APPEND: "APPEND", SUBTRACT: "SUBTRACT"}[operation]
    assert (code, message) == (Code.INVALID_CONFIG, f"Can't {word} to key {key} because its type is not LIST.")


@pytest.mark.parametrize("operation", [APPEND, SUBTRACT])
@pytest.mark.parametrize(
    ("resource", "key"),
    [
        ((TOPIC, "t"), "retention.ms"),
        ((GROUP, "g"), "consumer.session.timeout.ms"),
        ((BROKER, "1"), "log.cleaner.threads"),
        ((BROKER, ""), "log.cleaner.threads"),
    ],
)
async def test_a_number_is_no_list(client, resource, key, operation):
    await client.create_topic("t")

    code, _ = await change(client, resource, key, operation, "50000")

    assert code == Code.INVALID_CONFIG


@pytest.mark.parametrize(
    ("now", "then", "code"),
    [
        (None, "2", Code.NONE),
        (None, "3", Code.INVALID_REQUEST),
        ("2", "4", Code.NONE),
        ("2", "5", Code.INVALID_REQUEST),
    ],
)
@pytest.mark.parametrize("broker_id", ["1", ""])
async def test_cleaner_threads_are_at_most_doubled_by_one_change(client, broker_id, now, then, code):
    if now is not None:
        assert (await change(client, (BROKER, broker_id), "log.cleaner.threads", SET, now))[0] == Code.NONE

    refused, message = await change(client, (BROKER, broker_id), "log.cleaner.threads", SET, then)

    assert refused == code
    if code:
        assert f"Log cleaner threads cannot be increased to more than double the current value {now or 1}" in message


@pytest.mark.parametrize(
    ("key", "value", "refusal"),
    [
        ("log.local.retention.ms", "-2", None),
        ("log.local.retention.ms", "1000", None),
        ("log.local.retention.ms", str(WEEK_MS), None),
        (
            "log.local.retention.ms",
            str(WEEK_MS + 1),
            f"Value must not be more than log.retention.ms property value: {WEEK_MS}",
        ),
        ("log.local.retention.ms", "-1", f"Value must not be -1 as log.retention.ms value is set as {WEEK_MS}."),
        ("log.local.retention.bytes", "1000", None),
        ("log.local.retention.bytes", "-1", None),
    ],
)
async def test_local_retention_of_a_broker_is_within_its_retention(client, key, value, refusal):
    code, message = await change(client, (BROKER, "1"), key, SET, value)

    assert code == (Code.NONE if refusal is None else Code.INVALID_REQUEST)
    if refusal is not None:
        assert refusal in message


async def test_a_name_that_collides_is_unknown_to_a_client_that_asks_for_metadata(client, broker):
    """17 is fatal to the Java client, and it asked for a topic, not for its creation."""
    await client.create_topic("a.b")
    wanted = [m.MetadataRequest.MetadataRequestTopic(name=name) for name in ("a_b", "new")]

    answer = await client.call(12, m.MetadataRequest(topics=wanted, allow_auto_topic_creation=True))

    codes = {topic.name: topic.error_code for topic in answer.topics}
    assert codes == {"a_b": Code.UNKNOWN_TOPIC_OR_PARTITION, "new": Code.NONE}
    assert set(broker.image.topics) == {"a.b", "new"}
