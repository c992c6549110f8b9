"""The APIs that a broker advertises. Cases that need other APIs are skipped."""

import socket
from functools import cache

from interop.brokers import Apache, Kwire
from kwire.wire import codec
from kwire.wire.messages import ApiVersionsRequest, ApiVersionsResponse

KEYS = {codec.request_class(key).NAME.removesuffix("Request"): key for key in codec.api_keys()}


def advertised(broker: Apache | Kwire) -> frozenset[int]:
    return _advertised(broker.port, broker.pid)


def missing(broker: Apache | Kwire, apis: tuple[str, ...]) -> list[str]:
    """Of these APIs, by name, the ones the broker does not advertise."""
    if not apis:
        return []
    served = advertised(broker)
    return [api for api in apis if KEYS[api] not in served]


@cache
def _advertised(port: int, pid: int) -> frozenset[int]:  # noqa: ARG001 - part of the cache key: another process may serve other APIs
    request = ApiVersionsRequest(client_software_name="interop", client_software_version="1")
    with socket.create_connection(("localhost", port), 10) as connection, connection.makefile("rwb") as stream:
        stream.write(codec.encode_request(18, 3, 1, "interop", request))
        stream.flush()
        frame = stream.read(int.from_bytes(stream.read(4), "big"))
    _, answer = codec.decode_response(18, 3, memoryview(frame))
    assert isinstance(answer, ApiVersionsResponse)
    return frozenset(api.api_key for api in answer.api_keys)
