"""KIP-1242: a client that names the cluster and the broker which it means learns when it has reached another."""

import pytest

from kwire.errors import Code
from kwire.wire import messages as m

OWN = object()


@pytest.mark.parametrize(
    ("cluster_id", "node_id", "code"),
    [
        (None, -1, Code.NONE),
        (OWN, 1, Code.NONE),
        (OWN, 2, Code.REBOOTSTRAP_REQUIRED),
        (OWN, -2, Code.REBOOTSTRAP_REQUIRED),
        ("AAAAAAAAAAAAAAAAAAAAbg", 1, Code.REBOOTSTRAP_REQUIRED),
        ("", 1, Code.REBOOTSTRAP_REQUIRED),
        (OWN, -1, Code.INVALID_REQUEST),
        (None, 1, Code.INVALID_REQUEST),
        (None, -2, Code.INVALID_REQUEST),
    ],
)
async def test_a_client_of_another_cluster_or_broker_is_sent_back_to_its_bootstrap_servers(
    client, broker, cluster_id, node_id, code
):
    request = m.ApiVersionsRequest(
        client_software_name="test",
        client_software_version="1",
        cluster_id=broker.cluster_id if cluster_id is OWN else cluster_id,
        node_id=node_id,
    )
    response = await client.call(5, request)
    assert response.error_code == code
    assert bool(response.api_keys) == (code is Code.NONE)
