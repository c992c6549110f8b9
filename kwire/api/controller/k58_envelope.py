"""Envelope (key 58).

Versions: 0.

Behaviour: a broker forwards the request of a client, with its principal and address (KIP-590); it is handled as if the
client had sent it here, and its response comes back as bytes. Requests that change metadata can be forwarded, no others
(INVALID_REQUEST). A request whose bytes cannot be read gets UNSUPPORTED_VERSION, a principal that cannot
PRINCIPAL_DESERIALIZATION_FAILURE.
"""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import Any

from kwire.broker.clients.client import Client
from kwire.broker.requests.context import Context
from kwire.broker.requests.dispatch import dispatch
from kwire.broker.requests.forwarded import ForwardedConnection
from kwire.broker.requests.refusals import refusal_of
from kwire.broker.requests.table import Api
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.security.operations import Operation
from kwire.security.principal import Principal
from kwire.wire import codec
from kwire.wire.messages import DefaultPrincipalData, EnvelopeRequest, EnvelopeResponse
from kwire.wire.spec import load_api

_PRINCIPAL_VERSION_BYTES = 2


async def handle(context: Context, request: EnvelopeRequest) -> EnvelopeResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    try:
        client = _client(context, request)
        frame = memoryview(bytes(request.request_data))
        header, api, message = _read(context, frame)
    except KafkaError as refusal:
        return EnvelopeResponse(error_code=refusal.code)
    forwarded = Context(
        broker=context.broker,
        connection=ForwardedConnection(client, context.connection),
        api_key=header.api_key,
        api_version=header.api_version,
        client_id=header.client_id,
        correlation_id=header.correlation_id,
    )
    response = await _answer(api, forwarded, header, message)
    parts: list[Any] = codec.encode_response(header, response)
    return EnvelopeResponse(response_data=b"".join(parts)[4:])


def _read(context: Context, frame: memoryview) -> tuple[codec.RequestHeader, Api, Any]:
    """Read the client's request. Raises KafkaError for one that is not forwarded, or cannot be read."""
    try:
        header = codec.read_header(frame)
    except ProtocolViolation as error:
        raise KafkaError(Code.UNSUPPORTED_VERSION, str(error)) from error
    api = context.connection.apis.get(header.api_key)
    if api is None or not _is_forwardable(header.api_key):
        raise KafkaError(Code.INVALID_REQUEST)
    if not api.serves(header.api_version):
        raise KafkaError(Code.UNSUPPORTED_VERSION)
    try:
        return header, api, codec.decode_request(header, frame)
    except ProtocolViolation as error:
        raise KafkaError(Code.UNSUPPORTED_VERSION, str(error)) from error


async def _answer(api: Api, context: Context, header: codec.RequestHeader, message: Any) -> codec.Message:
    try:
        response = await dispatch(api, context, message)
    except KafkaError as refusal:
        response = refusal_of(header, refusal.code, refusal.message)
    except StorageFailure as failure:
        response = refusal_of(header, Code.KAFKA_STORAGE_ERROR, str(failure))
    assert isinstance(response, codec.Message)  # every forwardable API has a place for an error code, or answers
    return response


@cache
def _is_forwardable(api_key: int) -> bool:
    return "forwardable" in load_api(api_key, "request").flags


def _client(context: Context, request: EnvelopeRequest) -> Client:
    """Make the client that a request was forwarded for. Raises KafkaError."""
    given = request.request_principal
    try:
        if given is None or len(given) < _PRINCIPAL_VERSION_BYTES:
            raise ProtocolViolation("no principal")
        version = int.from_bytes(given[:_PRINCIPAL_VERSION_BYTES], "big", signed=True)
        data = codec.decode(DefaultPrincipalData, version, bytes(given[_PRINCIPAL_VERSION_BYTES:]), exact=False)
    except ProtocolViolation as error:
        raise KafkaError(Code.PRINCIPAL_DESERIALIZATION_FAILURE, str(error)) from error
    try:
        host = ipaddress.ip_address(bytes(request.client_host_address))
    except ValueError as error:
        raise KafkaError(Code.INVALID_REQUEST, str(error)) from error
    return Client(
        host=str(host),
        port=0,
        endpoint=context.endpoint,
        authenticated_at_ms=context.client.authenticated_at_ms,
        principal=Principal(data.type, data.name),
        authenticated_by_token=data.token_authenticated,
    )
