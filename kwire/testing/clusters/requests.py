"""Requests to the nodes of a local cluster, each over a connection of its own.

Responsible for: encoding, TLS, waiting, decoding, and what a cluster needs to know about its nodes. Must not depend
on: processes, an event loop.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from kwire.wire import codec
from kwire.wire.messages import DescribeQuorumRequest, DescribeQuorumResponse, MetadataRequest

if TYPE_CHECKING:
    from ssl import SSLContext

_CONNECT_S: Final = 1.0
_ANSWER_S: Final = 2.0
_CLIENT_ID: Final = "kwire-cluster"
_METADATA_VERSION: Final = 12
_QUORUM_VERSION: Final = 2
# An ApiVersions request of version 0 without a client id.
_API_VERSIONS: Final = bytes.fromhex("0000000a 0012 0000 00000001 ffff")


def ask(port: int, request: Any, *, version: int, tls: SSLContext | None = None, timeout_s: float = _ANSWER_S) -> Any:
    """Return the response of a node of this machine. Raises OSError without one."""
    with _connected(port, tls, timeout_s) as connection:
        connection.sendall(codec.encode_request(request.KEY, version, 1, _CLIENT_ID, request))
        frame = _receive(connection, int.from_bytes(_receive(connection, 4), "big"))
    return codec.decode_response(request.KEY, version, memoryview(frame))[1]


def answers(port: int, tls: SSLContext | None = None) -> bool:
    """Tell whether a node answers ApiVersions there; a port accepts before requests are served."""
    try:
        with _connected(port, tls, _ANSWER_S) as connection:
            connection.sendall(_API_VERSIONS)
            return len(connection.recv(64)) > 8
    except OSError:
        return False


def brokers_known(port: int, tls: SSLContext | None = None) -> int:
    """Ask a broker how many brokers there are; 0 if it does not answer."""
    request = MetadataRequest(topics=[], allow_auto_topic_creation=False)
    try:
        return len(ask(port, request, version=_METADATA_VERSION, tls=tls).brokers)
    except OSError:
        return 0


def voters_of_the_leader(ports: Collection[int], tls: SSLContext | None = None) -> set[int]:
    """Ask the controllers at these ports which of them take part in the quorum, as its leader sees it.

    A voter takes part when it has fetched the metadata. Without a leader no voter does.
    """
    found = _described_by_leader(ports, tls)
    return set() if found is None else {one.replica_id for one in found.current_voters if one.log_end_offset >= 0}


def leader_of_the_quorum(ports: Collection[int], tls: SSLContext | None = None) -> int | None:
    """Ask the controllers at these ports which of them leads the quorum; None without a leader."""
    found = _described_by_leader(ports, tls)
    return None if found is None else found.leader_id


def _described_by_leader(ports: Collection[int], tls: SSLContext | None) -> DescribeQuorumResponse.PartitionData | None:
    partition = DescribeQuorumRequest.PartitionData(partition_index=0)
    topic = DescribeQuorumRequest.TopicData(topic_name="__cluster_metadata", partitions=[partition])
    for port in ports:
        try:
            response = ask(port, DescribeQuorumRequest(topics=[topic]), version=_QUORUM_VERSION, tls=tls)
        except OSError:
            continue
        # Only the leader answers without an error.
        if response.error_code or not response.topics or response.topics[0].partitions[0].error_code:
            continue
        found = response.topics[0].partitions[0]
        assert isinstance(found, DescribeQuorumResponse.PartitionData)
        return found
    return None


def _connected(port: int, tls: SSLContext | None, timeout_s: float) -> socket.socket:
    connection = socket.create_connection(("localhost", port), _CONNECT_S)
    connection.settimeout(timeout_s)
    if tls is None:
        return connection
    try:
        return tls.wrap_socket(connection, server_hostname="localhost")
    except BaseException:
        connection.close()
        raise


def _receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        if not chunk:
            raise ConnectionResetError
        received += chunk
    return received
