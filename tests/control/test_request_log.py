"""Messages as the request log shows them."""

import json

import pytest

from kwire.control.requests.request_log import ELEMENTS_SHOWN, plain
from kwire.metadata.configs.definitions import broker_keys
from kwire.wire import messages as m


def test_a_large_message_is_shown_in_part():
    partition, topic = m.MetadataResponse.MetadataResponsePartition, m.MetadataResponse.MetadataResponseTopic
    response = m.MetadataResponse(
        topics=[topic(name=str(number), partitions=[partition() for _ in range(100)]) for number in range(100)]
    )
    shown = plain(response, 9)
    assert shown["topics"][-1] == f"{100 - (len(shown['topics']) - 1)} more"
    assert len(json.dumps(shown)) < 300 * ELEMENTS_SHOWN


@pytest.mark.parametrize(
    "name", [name for name, key in broker_keys().items() if key.sensitive] + ["listener.name.a.ssl.key.password"]
)
def test_a_secret_of_a_config_is_not_shown(name):
    request = m.IncrementalAlterConfigsRequest
    change = request.AlterableConfig(name=name, value="hunter2")
    shown = plain(request(resources=[request.AlterConfigsResource(configs=[change])]), 1)
    assert "hunter2" not in json.dumps(shown)


def test_a_struct_at_two_places_has_the_fields_of_the_version_at_each():
    request = m.AddPartitionsToTxnRequest
    topics = [request.AddPartitionsToTxnTopic(name="t", partitions=[0])]
    shown = [{"name": "t", "partitions": [0]}]
    assert plain(request(v3_and_below_topics=topics), 3)["v3_and_below_topics"] == shown
    transaction = request.AddPartitionsToTxnTransaction(topics=topics)
    assert plain(request(transactions=[transaction]), 4)["transactions"][0]["topics"] == shown


def test_secrets_and_long_bytes_are_left_out():
    assert plain(m.SaslAuthenticateRequest(auth_bytes=b"\0alice\0secret"), 2) == {"auth_bytes": "hidden"}
    request = m.JoinGroupRequest(
        protocols=[m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"x" * 100)]
    )
    assert plain(request, 5)["protocols"] == [{"name": "range", "metadata": {"bytes": 100}}]
