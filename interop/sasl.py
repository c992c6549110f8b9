"""A broker with a SASL listener beside its plain one, and raw logins that say what came back."""

import base64
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from interop.brokers import Apache, Kwire, free_port
from interop.waiting import wait_until
from kwire.security.sasl.scram_client import ScramClient
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.message import Message

MODULES = "org.apache.kafka.common.security."
USERS = {"alice": "alice-secret", "bob": "bob-secret"}
PLAIN_MODULE = f'{MODULES}plain.PlainLoginModule required user_alice="alice-secret" user_bob="bob-secret";'
SCRAM_MODULE = f"{MODULES}scram.ScramLoginModule required;"
OAUTH_MODULE = f"{MODULES}oauthbearer.OAuthBearerLoginModule required;"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


def sasl_settings(listener: str, mechanisms: tuple[str, ...] = MECHANISMS) -> dict[str, str]:
    """The settings by which a listener serves these mechanisms to ``USERS``."""
    prefix = f"listener.name.{listener.lower()}."
    settings = {f"{prefix}sasl.enabled.mechanisms": ",".join(mechanisms)}
    for mechanism in mechanisms:
        module = {"PLAIN": PLAIN_MODULE, "OAUTHBEARER": OAUTH_MODULE}.get(mechanism, SCRAM_MODULE)
        settings[f"{prefix}{mechanism.lower()}.sasl.jaas.config"] = module
    return settings


def add_sasl(
    broker: Kwire | Apache, *listeners: str, mechanisms: tuple[str, ...] = MECHANISMS, encrypted: tuple[str, ...] = ()
) -> dict[str, int]:
    """Give a broker that is not started yet SASL_PLAINTEXT listeners; returns their ports.

    Those of the names in ``encrypted`` are SASL_SSL; the broker must have a key store.
    """
    ports = {name: free_port() for name in listeners}
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **dict.fromkeys(listeners, "SASL_PLAINTEXT")}
    protocols |= dict.fromkeys(encrypted, "SASL_SSL")
    broker.settings["listener.security.protocol.map"] = ",".join(map(":".join, protocols.items()))
    for name, port in ports.items():
        broker.more_listeners.append(f"{name}://localhost:{port}")
        broker.settings |= sasl_settings(name, mechanisms)
    return ports


def client_properties(mechanism: str, user: str = "alice", password: str | None = None) -> str:
    """The settings of a Java client."""
    kind = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
    secret = USERS.get(user, "") if password is None else password
    return (
        f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\n"
        f'sasl.jaas.config={MODULES}{kind} required username="{user}" password="{secret}";\n'
    )


def unsecured_token(**claims: Any) -> str:
    """A token without a signature; None leaves a claim out."""
    now = int(time.time())
    header = claims.pop("header", {"alg": "none"})
    given = {"sub": "alice", "iat": now - 10, "exp": now + 3600, **claims}
    parts = (header, {name: value for name, value in given.items() if value is not None})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


class Wire:
    """One connection, whose answers are JSON, or what else happened."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("localhost", port), 10)
        self._socket.settimeout(10)
        self._correlation = 0

    def close(self) -> None:
        self._socket.close()

    def call(self, version: int, request: Message) -> dict[str, Any]:
        self._correlation += 1
        frame = codec.encode_request(request.KEY, version, self._correlation, "wire", request)
        answer = self.exchange(frame)
        if not isinstance(answer, bytes):
            return answer
        # ApiVersions may be answered in version 0.
        versions = (version, 0) if request.KEY == codec.API_VERSIONS else (version,)
        for each in versions:
            try:
                _, message = codec.decode_response(request.KEY, each, memoryview(answer))
            except Exception as error:  # noqa: BLE001 (it goes into the transcript)
                failure = repr(error)
                continue
            return dict(codec.to_json(message, each))
        return {"not decoded": failure}

    def exchange(self, content: bytes) -> bytes | dict[str, Any]:
        """Send bytes and read one frame."""
        try:
            self._socket.sendall(content)
            size = int.from_bytes(self._read(4), "big")
            return self._read(size)
        except TimeoutError:
            return {"nothing": "no answer"}
        except OSError:
            return {"closed": True}

    def token(self, content: bytes) -> dict[str, Any]:
        """Send a token without a header, as old clients do."""
        answer = self.exchange(len(content).to_bytes(4, "big") + content)
        return {"token": base64.b64encode(answer).decode()} if isinstance(answer, bytes) else answer

    def is_closed(self) -> bool:
        try:
            return self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def handshake(self, mechanism: str, version: int = 1) -> dict[str, Any]:
        return self.call(version, m.SaslHandshakeRequest(mechanism=mechanism))

    def authenticate(self, token: bytes, version: int = 2) -> dict[str, Any]:
        return self.call(version, m.SaslAuthenticateRequest(auth_bytes=token))

    def plain(self, user: str = "alice", password: str | None = None) -> dict[str, Any]:
        self.handshake("PLAIN")
        secret = USERS[user] if password is None else password
        return self.authenticate(f"\0{user}\0{secret}".encode())

    def scram(
        self, user: str, password: str, mechanism: str = "SCRAM-SHA-256", *, by_token: bool = False
    ) -> dict[str, Any]:
        shaken = self.handshake(mechanism)
        if shaken.get("errorCode"):
            return shaken
        client = ScramClient(mechanism, user, password, "clientnonce", token=by_token)
        first = self.authenticate(client.first())
        if first.get("errorCode") or "authBytes" not in first:
            return {"at the first message": first}
        last = self.authenticate(client.final(base64.b64decode(first["authBytes"])))
        if last.get("authBytes"):
            client.check(base64.b64decode(last["authBytes"]))
            last["authBytes"] = "a signature"
        return last

    def oauth(self, token: str, extra: str = "", authzid: str = "") -> dict[str, Any]:
        self.handshake("OAUTHBEARER")
        return self.authenticate(f"n,{authzid},\x01auth=Bearer {token}{extra}\x01\x01".encode())

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            chunk = self._socket.recv(count - len(content))
            if not chunk:
                raise ConnectionResetError
            content += chunk
        return content


def wait_until_applied(port: int) -> None:
    """Wait until a broker has applied the metadata records of earlier requests: it knows a topic that is created now.

    Apache Kafka answers once its controller has written a record, and its broker follows the log.
    """
    wire, name = Wire(port), f"applied-{time.monotonic_ns()}"
    topic = m.CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    wire.call(7, m.CreateTopicsRequest(topics=[topic], timeout_ms=30_000))
    wanted = m.MetadataRequest(topics=[m.MetadataRequest.MetadataRequestTopic(name=name)])
    _until(lambda: not wire.call(9, wanted)["topics"][0]["errorCode"])
    time.sleep(0.5)  # topics are shown first, then credentials are stored
    wire.close()


def wait_for_tokens(port: int) -> None:
    """Wait until broker and controller have applied earlier changes of tokens: one of bob's is known, then gone.

    As ``wait_until_applied``; deriving the credentials of tokens takes long on a busy machine.
    """
    wire = Wire(port)
    wire.plain("bob")
    made = wire.call(3, m.CreateDelegationTokenRequest(max_lifetime_ms=-1))
    everything = m.DescribeDelegationTokenRequest(owners=None)
    gone = m.ExpireDelegationTokenRequest(hmac=base64.b64decode(made["hmac"]), expiry_time_period_ms=-1)

    def described() -> bool:
        return any(token["tokenId"] == made["tokenId"] for token in wire.call(3, everything)["tokens"])

    _until(described)
    _until(lambda: wire.call(2, gone)["errorCode"] == 0)
    _until(lambda: not described())
    wire.close()


def _until(holds: Callable[[], bool]) -> None:
    wait_until(holds, lambda: "the broker does not follow its controller")


def masked(answer: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Leave out fields whose values differ from run to run."""
    return {name: value for name, value in answer.items() if name not in names}
