"""Real clients and the official tools log in by each mechanism that they have."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from interop.brokers import Apache, Kwire, copy_data
from interop.case import Run, case
from interop.cases.clients_other import franz_go, kafka_go, kafkajs, krafka, platformatic, rskafka, sarama
from interop.jars import CURRENT, ROOT, need
from interop.sasl import MODULES, USERS, Wire, add_sasl, client_properties, unsecured_token
from interop.tls import Certificates, key_stores
from kwire.wire.messages import MetadataRequest

SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
PASSWORDS = ("PLAIN", *SCRAM)
EVERY = (*PASSWORDS, "OAUTHBEARER")
OAUTH_PROPERTIES = (
    "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n"
    f'sasl.jaas.config={MODULES}oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="alice";\n'
)
PROPERTIES = {**{mechanism: client_properties(mechanism) for mechanism in PASSWORDS}, "OAUTHBEARER": OAUTH_PROPERTIES}
REFUSED = 58  # SASL_AUTHENTICATION_FAILED
T = TypeVar("T")
TOKEN_KEY = {"delegation.token.secret.key": "k3y"}
_starting = threading.Lock()


class Secured(NamedTuple):
    """A broker with a SASL_PLAINTEXT and a SASL_SSL listener."""

    broker: Kwire | Apache
    certificates: Certificates
    ports: Mapping[str, int]

    @property
    def server(self) -> str:
        """The SASL_PLAINTEXT listener."""
        return f"localhost:{self.ports['SASL']}"

    @property
    def tls_server(self) -> str:
        """The SASL_SSL listener."""
        return f"localhost:{self.ports['SECURE']}"

    def servers(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Both listeners, each with the variables that give a client program its protocol and authority."""
        yield self.server, dict(os.environ)
        yield self.tls_server, {**os.environ, **self.certificates.environment(own=False, protocol="SASL_SSL")}

    def over_tls(self, text: str) -> str:
        """The settings of a Java client for the SASL_SSL listener."""
        trust = f"ssl.truststore.type=PEM\nssl.truststore.location={self.certificates.ca}\n"
        return text.replace("SASL_PLAINTEXT", "SASL_SSL") + trust


_secured: dict[int, Secured] = {}


def secured(run: Run) -> Secured:
    """The broker of all cases here."""
    with _starting:
        found = _secured.get(id(run.world))
        if found is None:
            broker = run.world.own(run.target, "sasl", TOKEN_KEY, None)
            certificates = Certificates(broker.folder / "certificates")
            broker.settings |= key_stores(certificates)
            ports = add_sasl(broker, "SASL", "SECURE", encrypted=("SECURE",))
            found = _secured[id(run.world)] = Secured(broker, certificates, ports)
            broker.start()
            for user, password in USERS.items():
                add_user(run, broker, user, password)
        return found


def add_user(run: Run, broker: Kwire | Apache, user: str, password: str) -> None:
    for mechanism in SCRAM:
        config = f"{mechanism}=[iterations=8192,password={password}]"
        entity = ("--entity-type", "users", "--entity-name", user, "--bootstrap-server", broker.bootstrap)
        run.twin("configs", *entity, "--alter", "--add-config", config).ok()  # needs no JVM


def configs(run: Run, broker: Kwire | Apache, user: str, *args: str) -> str:
    entity = ("--entity-type", "users", "--entity-name", user, "--bootstrap-server", broker.bootstrap)
    return run.tool("configs", *entity, *args).ok().out


def properties(run: Run, text: str) -> str:
    path = run.folder / f"client-{run.world.number()}.properties"
    path.write_text(text)
    return str(path)


def talk(run: Run, server: str, config: str) -> None:
    """Create a topic, produce and consume with the official tools."""
    topic = run.unique("login")
    at = ("--bootstrap-server", server, "--command-config", config)
    run.tool("topics", *at, "--create", "--topic", topic).ok()
    run.tool("console-producer", *at, "--topic", topic, stdin="hello\n").ok()
    seen = run.tool(
        "console-consumer", *at, "--topic", topic, "--from-beginning", "--max-messages", "1", "--timeout-ms", "20000"
    )
    assert seen.ok().out == "hello\n", seen


def register_tools(mechanism: str) -> None:
    @case("tools", "sasl", mechanism.lower(), smoke=mechanism == "SCRAM-SHA-256")
    def body(run: Run) -> None:
        talk(run, secured(run).server, properties(run, PROPERTIES[mechanism]))


for _mechanism in EVERY:
    register_tools(_mechanism)


@case("tools", "sasl", "over-tls")
def tools_over_tls(run: Run) -> None:
    """The official tools over SASL_SSL with each mechanism."""
    for mechanism in EVERY:
        text = secured(run).over_tls(PROPERTIES[mechanism])
        at = ("--bootstrap-server", secured(run).tls_server, "--command-config", properties(run, text))
        run.tool("topics", *at, "--create", "--topic", run.unique(mechanism.lower())).ok()


@case("clients", "java", "login")
def java_login(run: Run) -> None:
    """The Java clients over both protocols with each mechanism."""
    for mechanism in EVERY:
        text = PROPERTIES[mechanism]
        for server, settings in ((secured(run).server, text), (secured(run).tls_server, secured(run).over_tls(text))):
            arguments = (server, "round-trip", run.unique("login"), properties(run, settings))
            run.jvm.run(CURRENT, "JavaClient", *arguments, timeout_s=120).ok().prints("ok")


@case("tools", "sasl", "wrong-password")
def wrong_password(run: Run) -> None:
    server = secured(run).server
    for mechanism, message in (
        ("PLAIN", "Authentication failed: Invalid username or password"),
        ("SCRAM-SHA-256", "due to invalid credentials with SASL mechanism SCRAM-SHA-256"),
    ):
        config = properties(run, client_properties(mechanism, password="wrong"))
        run.tool("topics", "--bootstrap-server", server, "--command-config", config, "--list").failed(message)


@case("tools", "sasl", "users")
def users(run: Run) -> None:
    """Users come and go by kafka-configs, and its output is the same everywhere."""
    broker, port = secured(run).broker, secured(run).ports["SASL"]
    user = run.unique("user")
    added = configs(run, broker, user, "--alter", "--add-config", "SCRAM-SHA-256=[iterations=8192,password=first]")
    assert added == f"Completed updating config for user {user}.\n", added
    described = configs(run, broker, user, "--describe")
    expected = f"SCRAM credential configs for user-principal '{user}' are SCRAM-SHA-256=iterations=8192\n"
    assert described == expected, described

    def code(password: str) -> int:
        answer = Wire(port).scram(user, password)
        return int(answer.get("at the first message", answer)["errorCode"])

    until(lambda: code("first"), lambda found: found == 0)
    configs(run, broker, user, "--alter", "--add-config", "SCRAM-SHA-256=[password=second]")
    until(lambda: code("first"), lambda found: found == REFUSED)
    assert code("second") == 0
    configs(run, broker, user, "--alter", "--delete-config", "SCRAM-SHA-256")
    until(lambda: code("second"), lambda found: found == REFUSED)


def until(ask: Callable[[], T], fits: Callable[[T], bool]) -> T:
    """Ask until the answer fits; Apache's image follows an answer a moment later."""
    for _ in range(25):
        answer = ask()
        if fits(answer):
            break
        time.sleep(0.4)  # a poll: the broker applies the controller's records a little later
    assert fits(answer), answer
    return answer


@case("tools", "sasl", "delegation-tokens")
def delegation_tokens(run: Run) -> None:
    """The official kafka-delegation-tokens, and a login with what it creates."""
    server = secured(run).server
    config = properties(run, client_properties("SCRAM-SHA-256"))

    def tokens(*args: str) -> str:
        return run.tool("delegation-tokens", "--bootstrap-server", server, "--command-config", config, *args).ok().out

    created = tokens("--create", "--max-life-time-period", "-1", "--renewer-principal", "User:bob")
    shown = re.search(r"tokenId : (\S+)\n\n.*\n\n(\S+) +(\S+) +(\S+) +(\S+) +(\[.*?\])", created)
    assert shown is not None, created
    assert created.startswith("Calling create token operation with renewers :[User:bob] , max-life-time-period :-1\n")
    token_id, hmac = shown[2], shown[3]
    assert shown.groups()[3:] == ("User:alice", "User:alice", "[User:bob]"), created
    assert token_id == shown[1]
    # Apache's image follows the answer a moment later.
    described = until(lambda: tokens("--describe", "--owner-principal", "User:alice"), lambda text: hmac in text)
    assert "Calling describe token operation for owners: [User:alice]\nTotal number of tokens : " in described
    module = f"{MODULES}scram.ScramLoginModule"
    by_token = (
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n"
        f'sasl.jaas.config={module} required username="{token_id}" password="{hmac}" tokenauth="true";\n'
    )
    talk(run, server, properties(run, by_token))
    refused = run.tool(
        "delegation-tokens", "--bootstrap-server", server, "--command-config", properties(run, by_token),
        "--create", "--max-life-time-period", "-1",
    )  # fmt: skip
    refused.failed("Delegation Token requests are not allowed")
    assert "Completed renew operation. New expiry date : " in tokens(
        "--renew", "--renew-time-period", "-1", "--hmac", hmac
    )
    assert "Completed expire operation. New expiry date : " in tokens(
        "--expire", "--expiry-time-period", "-1", "--hmac", hmac
    )
    until(lambda: tokens("--describe"), lambda text: hmac not in text)


AUTHORIZED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS;User:alice",
}
TOPIC_AUTHORIZATION_FAILED = 29


@case("datadirs", "sasl", "users-tokens-and-acls")
def users_tokens_and_acls_of_the_other_broker(run: Run) -> None:
    """A directory with users, tokens and ACLs is served by the other broker, and back."""
    tokens: dict[str, str] = {}
    topics: dict[str, int] = {}  # what bob is answered about each
    data: Path | None = None
    for number, kind in enumerate(("apache", "kwire", "apache")):
        broker = run.own_broker(TOKEN_KEY | AUTHORIZED, kind=kind, data=data)
        port = add_sasl(broker, "SASL")["SASL"]
        broker.start()
        try:
            if not number:
                for user, password in USERS.items():
                    add_user(run, broker, user, password)
            else:
                for mechanism in SCRAM:
                    assert not Wire(port).scram("alice", USERS["alice"], mechanism)["errorCode"], (kind, mechanism)
                for name, hmac in tokens.items():
                    login = Wire(port).scram(name, hmac, by_token=True)
                    assert not login.get("errorCode", 1), (kind, login)
            until(lambda port=port: seen_by_bob(port, topics), lambda found: found == topics)
            token_id, hmac = create_token(run, port)
            tokens[token_id] = hmac
            at = ("--bootstrap-server", broker.bootstrap)
            for name, code in ((f"open-{number}", 0), (f"closed-{number}", TOPIC_AUTHORIZATION_FAILED)):
                run.tool("topics", *at, "--create", "--topic", name).ok()
                topics[name] = code
            reads = ("--add", "--allow-principal", "User:bob", "--operation", "Read", "--allow-host", "127.0.0.0/8")
            run.tool("acls", *at, *reads, "--topic", f"open-{number}").ok()
            until(lambda port=port: seen_by_bob(port, topics), lambda found: found == topics)
        finally:
            broker.stop()
        data = copy_data(broker.data, run.folder / f"data-{number}")


def seen_by_bob(port: int, topics: Mapping[str, int]) -> dict[str, int]:
    """The code of each topic in an answer to a user who may read some of them."""
    wire = Wire(port)
    assert not wire.plain("bob").get("errorCode", 1)
    wanted = [MetadataRequest.MetadataRequestTopic(name=name) for name in topics]
    answer = wire.call(9, MetadataRequest(topics=wanted, allow_auto_topic_creation=False))
    wire.close()
    return {topic["name"]: topic["errorCode"] for topic in answer["topics"]}


def create_token(run: Run, port: int) -> tuple[str, str]:
    """Let alice make a token; its id and HMAC."""
    created = run.tool(
        "delegation-tokens", "--bootstrap-server", f"localhost:{port}", "--command-config",
        properties(run, client_properties("PLAIN")), "--create", "--max-life-time-period", "-1",
    ).ok().out  # fmt: skip
    token_id, hmac = created.split("\n\n")[-1].split()[:2]
    return token_id, hmac


def secret(mechanism: str) -> str:
    """Alice's password, or a token of hers."""
    return unsecured_token() if mechanism == "OAUTHBEARER" else USERS["alice"]


def register_python(client: str, mechanism: str) -> None:
    @case("clients", client, f"login-{mechanism.lower()}")
    def body(run: Run) -> None:
        program = [sys.executable, "-W", "ignore", str(ROOT / "interop" / "clients" / "logins.py"), client]
        for server, environment in secured(run).servers():
            arguments = [server, run.unique("login"), mechanism, "alice", secret(mechanism)]
            run.program([*program, *arguments], env=environment).ok().prints("ok")


for _client in ("confluent-kafka", "kafka-python", "aiokafka"):
    for _mechanism in EVERY:
        register_python(_client, _mechanism)


def register_other(client: str, mechanism: str, command) -> None:
    @case("clients", client, f"login-{mechanism.lower()}")
    def body(run: Run) -> None:
        login = {"SASL_MECHANISM": mechanism, "SASL_USER": "alice", "SASL_PASSWORD": secret(mechanism)}
        for server, environment in secured(run).servers():
            arguments = [server, "round-trip", run.unique("login")]
            run.program([*command(), *arguments], env={**environment, **login}).ok().prints("ok")


for _mechanism in EVERY:
    register_other("kafkajs", _mechanism, kafkajs)
    register_other("franz-go", _mechanism, franz_go)
    register_other("rskafka", _mechanism, rskafka)
    register_other("krafka", _mechanism, krafka)
    register_other("@platformatic/kafka", _mechanism, platformatic)
    register_other("sarama", _mechanism, sarama)
    if _mechanism != "OAUTHBEARER":  # kafka-go has no such mechanism
        register_other("kafka-go", _mechanism, kafka_go)


def register_kcat(mechanism: str, *login: str) -> None:
    @case("clients", "kcat", f"login-{mechanism.lower()}")
    def body(run: Run) -> None:
        """Kcat of 2021 repeats its nonce in SCRAM, which Apache Kafka refuses too since 3.9."""
        for server, protocol in ((secured(run).server, "SASL_PLAINTEXT"), (secured(run).tls_server, "SASL_SSL")):
            settings = [f"security.protocol={protocol}", f"ssl.ca.location={secured(run).certificates.ca}"]
            settings += [f"sasl.mechanism={mechanism}", *login]
            kcat = [need("kcat"), "-b", server, *(word for setting in settings for word in ("-X", setting))]
            topic = run.unique("login")
            run.program([*kcat, "-P", "-t", topic], stdin="hello\n").ok()
            assert run.program([*kcat, "-C", "-t", topic, "-e", "-q"]).ok().out == "hello\n"
            assert json.loads(run.program([*kcat, "-L", "-J"]).ok().out)["brokers"]


register_kcat("PLAIN", "sasl.username=alice", f"sasl.password={USERS['alice']}")
register_kcat("OAUTHBEARER", "enable.sasl.oauthbearer.unsecure.jwt=true", "sasl.oauthbearer.config=principal=alice")
