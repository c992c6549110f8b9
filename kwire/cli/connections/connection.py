"""One connection to a broker, as the commands, selfcheck and doctor use it.

Responsible for: connecting to a broker (TCP, TLS, ApiVersions, SASL), sending requests and reading responses, and one
sentence for each failure. Must not depend on: other brokers of the cluster, the purpose of requests.

One request at a time, in order. The version of a request is the highest that both sides support, unless the caller
chooses a lower one.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar, cast

from kwire.errors import ProtocolViolation
from kwire.security.sasl.exchange import ClientExchange
from kwire.wire.codec import decode_response, encode_request
from kwire.wire.message import Message
from kwire.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

AnswerT = TypeVar("AnswerT", bound=Message)

DEFAULT_PORT: Final = 9092
FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
_FEATURES_SINCE: Final = 3  # of ApiVersions (KIP-584)
_ADDRESS: Final = re.compile(
    r"(?:[\w.%-]*://)?(?:\[(?P<v6>[^\]\s]+)\]|(?P<host>[^:\[\]\s]+))(?::(?P<port>\d*))?", re.ASCII
)


class ClientError(Exception):
    """A broker could not be reached, or its answer could not be read. The message is a sentence for people."""


class NoSuchHost(ClientError):
    """The name does not resolve."""


class CannotConnect(ClientError):
    """Nothing listens at the address, or no answer arrives."""


class NotKafka(ClientError):
    """The peer is not a Kafka broker without TLS. ``protocol`` is "HTTP", "TLS", "none" (it closed) or "unknown"."""

    def __init__(self, message: str, protocol: str) -> None:
        super().__init__(message)
        self.protocol = protocol


class TlsFailed(ClientError):
    """The TLS handshake failed."""


class AuthenticationFailed(ClientError):
    """The broker refused the credentials or the SASL mechanism."""


class UnsupportedMechanism(AuthenticationFailed):
    """The listener does not offer the SASL mechanism ``wanted``. ``mechanisms`` is empty if it uses no SASL."""

    def __init__(self, message: str, wanted: str, mechanisms: list[str]) -> None:
        super().__init__(message)
        self.wanted = wanted
        self.mechanisms = mechanisms


class ConnectionLost(ClientError):
    """The broker closed the connection; it does so on a request that it does not serve."""


class TimedOut(ClientError):
    """No answer arrived before the timeout."""


class NotServed(ClientError):
    """The broker does not serve this API, or at no version that this client supports."""


class Security(NamedTuple):
    """How to authenticate and encrypt. ``mechanism`` makes a new SASL exchange for each connection."""

    tls: ssl.SSLContext | None = None
    mechanism: Callable[[], ClientExchange] | None = None


PLAINTEXT: Final = Security()


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int | None = DEFAULT_PORT) -> Address:
    """Read HOST:PORT, [V6]:PORT or, with a default port, HOST. Raises ValueError.

    A listener's name may precede it, as in the ``ready`` line of ``kwire serve``; the Java clients ignore it too.
    """
    found = _ADDRESS.fullmatch(text.strip())
    port = (found and found["port"]) or ("" if default_port is None else str(default_port))
    if found is None or not port or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(found["v6"] or found["host"], int(port))


def parse_addresses(text: str, default_port: int | None = DEFAULT_PORT) -> list[Address]:
    """Read HOST:PORT[,HOST:PORT ...]. Raises ValueError."""
    return [parse_address(one, default_port) for one in text.split(",") if one.strip()]


class Connection:
    """One connection, ready for requests: ApiVersions is done, and SASL if it is configured."""

    def __init__(
        self,
        address: Address,
        *,
        security: Security = PLAINTEXT,
        client_id: str | None = "kwire",
        timeout_s: float = 10.0,
        negotiate: bool = True,
    ) -> None:
        self.address = address
        self.client_id = client_id
        self.timeout_s = timeout_s
        self.api_versions: dict[int, tuple[int, int]] = {}
        self.features: ApiVersionsResponse = ApiVersionsResponse()
        self._correlation_id = 0
        self._trusted = False  # whether the broker has answered a request other than ApiVersions
        self._socket = _connect(address, security, timeout_s)
        try:
            if negotiate:
                self._negotiate()
                if security.mechanism is not None:
                    self._authenticate(security.mechanism())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def version_of(self, request: type[Message], highest: int | None = None) -> int:
        """Return the highest version that both sides support. Raises NotServed."""
        ours = request.VERSIONS
        theirs = self.api_versions.get(request.KEY)
        if theirs is None:
            raise NotServed(f"{self.address} does not serve {request.NAME.removesuffix('Request')}")
        version = min(ours.highest, theirs[1], ours.highest if highest is None else highest)
        if version < max(ours.lowest, theirs[0]):
            raise NotServed(
                f"{self.address} serves {request.NAME.removesuffix('Request')} at versions {theirs[0]} to {theirs[1]};"
                f" supported here: {ours.lowest} to {ours.highest}"
            )
        return version

    def serves(self, request: type[Message], version: int | None = None) -> bool:
        """Whether the broker serves an API, or one version of it."""
        low, high = self.api_versions.get(request.KEY, (0, -1))
        return low <= high if version is None else low <= version <= high

    def call(
        self, request: Message, answer: type[AnswerT], *, version: int | None = None, timeout_s: float | None = None
    ) -> AnswerT:
        """Send a request and return its answer. Raises ClientError."""
        if version is None:
            version = self.version_of(type(request))
        frame = self._round_trip(request, version, timeout_s)
        self._trusted = self._trusted or request.KEY != ApiVersionsRequest.KEY
        try:
            _, message = decode_response(request.KEY, version, memoryview(frame))
        except ProtocolViolation as error:
            raise NotKafka(
                f"{self.address} sent {answer.NAME} version {version} with bytes that do not decode: {error}",
                "unknown",
            ) from error
        return cast("AnswerT", message)

    def send_only(self, request: Message, version: int) -> None:
        """Send a request that has no answer (acks=0)."""
        self._send(request, version)

    def receive(self) -> bytes:
        """Read the next answer, without its size, whatever request it is to. Raises ClientError, OSError."""
        size = int.from_bytes(self._read(4), "big")
        if not 4 <= size <= FRAME_BYTES_MAX:
            raise NotKafka(f"{self.address} sent an answer of {size} bytes", "unknown")
        return self._read(size)

    def _round_trip(self, request: Message, version: int, timeout_s: float | None) -> bytes:
        self._socket.settimeout(self.timeout_s if timeout_s is None else timeout_s)
        try:
            self._send(request, version)
            return self._receive()
        except TimeoutError as error:
            raise TimedOut(
                f"{self.address} did not answer {request.NAME.removesuffix('Request')} within "
                f"{self._socket.gettimeout():g} s"
            ) from error
        except ssl.SSLError as error:  # with TLSv1.3 a broker refuses a client's certificate after the handshake
            raise _tls_failed(self.address, error) from error
        except OSError as error:
            hint = "" if self._trusted else " (its listener may require SASL)"
            name = f"{request.NAME.removesuffix('Request')} version {version}"
            raise ConnectionLost(f"{self.address} closed the connection on {name}{hint}") from error

    def _send(self, request: Message, version: int) -> None:
        self._correlation_id += 1
        self._socket.sendall(encode_request(request.KEY, version, self._correlation_id, self.client_id, request))

    def _receive(self) -> bytes:
        """Read one frame, with its correlation id checked, without its size. OSError when the broker closes."""
        start = self._read(4)
        size = int.from_bytes(start, "big")
        if not 4 <= size <= FRAME_BYTES_MAX:
            raise _not_kafka(self.address, start + self._read_some())
        frame = self._read(size)
        correlation_id = int.from_bytes(frame[:4], "big")
        if correlation_id != self._correlation_id:
            raise NotKafka(
                f"{self.address} answered with correlation id {correlation_id} to request {self._correlation_id}",
                "unknown",
            )
        return frame

    def _read(self, count: int) -> bytes:
        chunks = bytearray()
        while len(chunks) < count:
            chunk = self._socket.recv(min(count - len(chunks), 1 << 20))
            if not chunk:
                raise ConnectionResetError("closed by the broker")
            chunks += chunk
        return bytes(chunks)

    def _read_some(self) -> bytes:
        try:
            return self._socket.recv(512)
        except OSError:
            return b""

    def _negotiate(self) -> None:
        request = ApiVersionsRequest(client_software_name="kwire", client_software_version=_version())
        try:
            answer = self.call(request, ApiVersionsResponse, version=ApiVersionsRequest.VERSIONS.highest)
        except NotKafka as error:
            # KIP-511: an older broker answers at version 0, with the range that it serves.
            if not isinstance(error.__cause__, ProtocolViolation):
                raise
            answer = self.call(request, ApiVersionsResponse, version=0)
            theirs = {api.api_key: api.max_version for api in answer.api_keys}.get(ApiVersionsRequest.KEY, 0)
            if theirs >= _FEATURES_SINCE:
                answer = self.call(request, ApiVersionsResponse, version=theirs)
        except ConnectionLost as error:
            raise NotKafka(
                f"{self.address} accepts connections and closes them at the first Kafka request:"
                " its listener may require TLS, or it is not a Kafka broker",
                "none",
            ) from error
        self.features = answer
        self.api_versions = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}

    def _authenticate(self, mechanism: ClientExchange) -> None:
        from kwire.security.sasl.scram_client import ScramRefused

        handshake = self.call(SaslHandshakeRequest(mechanism=mechanism.name), SaslHandshakeResponse)
        if handshake.error_code:
            offered = list(handshake.mechanisms)
            raise UnsupportedMechanism(
                f"{self.address} does not support SASL {mechanism.name}; it supports {', '.join(offered) or 'none'}",
                mechanism.name,
                offered,
            )
        token: bytes | None = mechanism.first()
        while token is not None:
            answer = self.call(SaslAuthenticateRequest(auth_bytes=token), SaslAuthenticateResponse)
            if answer.error_code:
                raise AuthenticationFailed(answer.error_message or f"{self.address} refused the credentials")
            try:
                token = mechanism.next(answer.auth_bytes)
            except ScramRefused as error:
                raise AuthenticationFailed(f"SASL {mechanism.name}: {error}") from error


def resolve(address: Address) -> list[tuple[int, tuple[str | int, ...]]]:
    """Return (family, socket address) of every address that a name resolves to. Raises NoSuchHost."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NoSuchHost(f"the name {address.host} does not resolve ({error.strerror or error})") from error
    return [(family, cast("tuple[str | int, ...]", where)) for family, _, _, _, where in found]


def _connect(address: Address, security: Security, timeout_s: float) -> socket.socket:
    failure: OSError | None = None
    for family, where in resolve(address):
        stream = socket.socket(family, socket.SOCK_STREAM)
        stream.settimeout(timeout_s)
        try:
            stream.connect(where)
        except OSError as error:
            stream.close()
            failure = error
            continue
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _wrap_tls(stream, address, security)
    if isinstance(failure, ConnectionRefusedError):
        raise CannotConnect(f"nothing listens on {address} (connection refused)") from failure
    if isinstance(failure, TimeoutError):
        raise CannotConnect(
            f"{address} does not answer within {timeout_s:g} s (firewall, or a wrong address?)"
        ) from failure
    raise CannotConnect(f"cannot connect to {address}: {failure}") from failure


def _wrap_tls(stream: socket.socket, address: Address, security: Security) -> socket.socket:
    if security.tls is None:
        return stream
    try:
        return security.tls.wrap_socket(stream, server_hostname=address.host)
    except (ssl.SSLError, OSError) as error:
        stream.close()
        raise _tls_failed(address, error) from error


def _tls_failed(address: Address, error: OSError) -> TlsFailed:
    from kwire.security.tls.failures import why_client_failed

    return TlsFailed(f"TLS with {address} failed: {why_client_failed(error)}")


def _not_kafka(address: Address, start: bytes) -> NotKafka:
    """Name the protocol that answered instead of Kafka."""
    if start.startswith((b"HTTP/", b"HTTP")):
        return NotKafka(f"{address} answers with HTTP: it is a web server, not a Kafka broker", "HTTP")
    # A TLS record: alert (21) or handshake (22), version 3.x.
    if start[:1] in (b"\x15", b"\x16") and start[1:2] == b"\x03":
        return NotKafka(
            f"{address} requires TLS: set security.protocol=SSL or SASL_SSL, or use its PLAINTEXT port", "TLS"
        )
    return NotKafka(f"{address} is not a Kafka broker: it answered {start[:16]!r}", "unknown")


def _version() -> str:
    from kwire import __version__

    return __version__
