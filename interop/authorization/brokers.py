"""Both brokers with an authorizer, a listener without login and one with SASL, and clients that log in."""

import socket
from pathlib import Path
from typing import Any, NamedTuple

from interop.authorization.principals import ADMIN, ANONYMOUS, PASSWORD, PRINCIPALS
from interop.brokers import PYTHON, Apache, Kwire, free_port
from interop.oracle.asker import Asker
from kwire.security.sasl.scram_client import ScramClient
from kwire.wire import codec
from kwire.wire.messages import SaslAuthenticateRequest, SaslHandshakeRequest

MODULES = "org.apache.kafka.common.security"
PLAIN = f"{MODULES}.plain.PlainLoginModule required"
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
USERS = " ".join(f'user_{each.name}="{PASSWORD}"' for each in PRINCIPALS if each.name != ANONYMOUS)
LOGIN = f'{PLAIN} username="{ADMIN}" password="{PASSWORD}" {USERS};'
TOKEN_MECHANISM = "SCRAM-SHA-256"
COMMON = {
    "authorizer.class.name": AUTHORIZER,
    "super.users": f"User:{ADMIN}",
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl.sasl.enabled.mechanisms": f"PLAIN,{TOKEN_MECHANISM}",
    "listener.name.sasl.plain.sasl.jaas.config": LOGIN,
    "listener.name.sasl.scram-sha-256.sasl.jaas.config": f"{MODULES}.scram.ScramLoginModule required;",
    "delegation.token.secret.key": "a key",
}


class SecuredApache(Apache):
    """``port`` is the listener without login, ``sasl_port`` the other; the broker itself logs in as the admin."""

    sasl_port = 0

    def start(self) -> None:
        self.port = self.port or free_port()
        self.sasl_port = self.sasl_port or free_port()
        controller = free_port()
        self.settings |= {
            **COMMON,
            "listeners": (
                f"PLAINTEXT://127.0.0.1:{self.port},SASL://127.0.0.1:{self.sasl_port},CONTROLLER://localhost:{controller}"
            ),
            "controller.quorum.bootstrap.servers": f"localhost:{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
            "inter.broker.listener.name": "SASL",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": LOGIN,
        }
        super().start()


class SecuredKwire(Kwire):
    """The same for kwire."""

    sasl_port = 0

    def start(self) -> None:
        import subprocess

        self.port = self.port or free_port()
        self.sasl_port = self.sasl_port or free_port()
        settings = {
            **COMMON,
            **self.settings,
            "log.dirs": str(self.data),
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},SASL://127.0.0.1:{self.sasl_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
        command = [PYTHON, "-P", "-m", "kwire", "serve"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log.open("ab"), text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("ready"), f"kwire did not get ready: {line!r}; its log ends:\n{self.tail()}"


class Token(NamedTuple):
    """A delegation token: its id, and its HMAC in base64, which is a password."""

    id: str
    hmac: str


class LoggedIn(Asker):
    """Logs in on each new connection: with its token, else by SASL/PLAIN, unless the name is that of no login."""

    token: Token | None = None

    def _connection(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        self._socket = socket.create_connection(("127.0.0.1", self.port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.token is not None:
            self._log_in_by_token(self.token)
        elif self.name != ANONYMOUS:
            self._exchange(1, SaslHandshakeRequest(mechanism="PLAIN"))
            self._authenticate(f"\0{self.name}\0{PASSWORD}".encode())
        return self._socket

    def _log_in_by_token(self, token: Token) -> None:
        self._exchange(1, SaslHandshakeRequest(mechanism=TOKEN_MECHANISM))
        client = ScramClient(TOKEN_MECHANISM, token.id, token.hmac, "nonce", token=True)
        challenge = self._authenticate(client.first())
        client.check(self._authenticate(client.final(challenge)))

    def _authenticate(self, token: bytes) -> bytes:
        return bytes(self._exchange(2, SaslAuthenticateRequest(auth_bytes=token)).auth_bytes)

    def _exchange(self, version: int, request: SaslHandshakeRequest | SaslAuthenticateRequest) -> Any:
        assert self._socket is not None
        self._socket.sendall(codec.encode_request(request.KEY, version, 0, "login", request))
        _, answer = codec.decode_response(request.KEY, version, memoryview(self._read_frame(10)))
        code = getattr(answer, "error_code", 0)
        assert code == 0, f"login of {self.name} was refused: {answer}"
        return answer


def client_of(broker: SecuredApache | SecuredKwire, name: str, token: Token | None = None) -> LoggedIn:
    """A client that logs in as a user, with a token of the user if one is given."""
    port = broker.port if name == ANONYMOUS else broker.sasl_port
    client = LoggedIn(port, f"m-{name}-", eager=broker.name == "kwire", name=name)
    client.token = token
    return client


def make(kind: str, folder: Path) -> SecuredApache | SecuredKwire:
    return (SecuredApache if kind == "apache" else SecuredKwire)(folder)
