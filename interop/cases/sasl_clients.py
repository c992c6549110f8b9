"""Real clients and the official tools log in by each mechanism that they have."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from interop.brokers import Apache, Kwire, copy_data
from interop.case import Run, case
from interop.cases.clients_other import franz_go, kafkajs, rskafka
from interop.jars import ROOT, need
from interop.sasl import MODULES, USERS, Wire, add_sasl, client_properties, unsecured_token

SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
PASSWORDS = ("PLAIN", *SCRAM)
OAUTH_PROPERTIES = (
    "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n"
    f'sasl.jaas.config={MODULES}oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="alice";\n'
)
REFUSED = 58  # SASL_AUTHENTICATION_FAILED
T = TypeVar("T")
TOKEN_KEY = {"delegation.token.secret.key": "k3y"}
_starting = threading.Lock()
_secured: dict[int, tuple[Kwire | Apache, int]] = {}


def secured(run: Run) -> tuple[Kwire | Apache, int]:
    """The broker of all cases here and the port of its SASL listener."""
    with _starting:
        found = _secured.get(id(run.world))
        if found is None:
            broker = run.world.own(run.target, "sasl", TOKEN_KEY, None)
            found = _secured[id(run.world)] = broker, add_sasl(broker, "SASL")["SASL"]
            broker.start()
            for user, password in USERS.items():
                add_user(run, broker, user, password)
        return found


def add_user(run: Run, broker: Kwire | Apache, user: str, password: str) -> None:
    for mechanism in SCRAM:
        config = f"{mechanism}=[iterations=8192,password={password}]"
        configs(run, broker, user, "--alter", "--add-config", config)


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


def register_tools(mechanism: str, text: str) -> None:
    @case("tools", "sasl", mechanism.lower(), smoke=mechanism == "SCRAM-SHA-256")
    def body(run: Run) -> None:
        talk(run, f"localhost:{secured(run)[1]}", properties(run, text))


for _mechanism in PASSWORDS:
    register_tools(_mechanism, client_properties(_mechanism))
register_tools("OAUTHBEARER", OAUTH_PROPERTIES)


@case("tools", "sasl", "wrong-password")
def wrong_password(run: Run) -> None:
    server = f"localhost:{secured(run)[1]}"
    for mechanism, message in (
        ("PLAIN", "Authentication failed: Invalid username or password"),
        ("SCRAM-SHA-256", "due to invalid credentials with SASL mechanism SCRAM-SHA-256"),
    ):
        config = properties(run, client_properties(mechanism, password="wrong"))
        run.tool("topics", "--bootstrap-server", server, "--command-config", config, "--list").failed(message)


@case("tools", "sasl", "users")
def users(run: Run) -> None:
    """Users come and go by kafka-configs, and its output is the same everywhere."""
    broker, port = secured(run)
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
    server = f"localhost:{secured(run)[1]}"
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


@case("datadirs", "sasl", "users-and-tokens")
def users_and_tokens_of_the_other_broker(run: Run) -> None:
    """A directory with users and a token is served by the other broker, and back."""
    token: dict[str, str] = {}
    data: Path | None = None
    for number, kind in enumerate(("apache", "kwire", "apache")):
        broker = run.own_broker(TOKEN_KEY, kind=kind, data=data)
        port = add_sasl(broker, "SASL")["SASL"]
        broker.start()
        try:
            if not number:
                for user, password in USERS.items():
                    add_user(run, broker, user, password)
            else:
                for mechanism in SCRAM:
                    assert not Wire(port).scram("alice", USERS["alice"], mechanism)["errorCode"], (kind, mechanism)
                for name, hmac in token.items():
                    login = Wire(port).scram(name, hmac, by_token=True)
                    assert not login.get("errorCode", 1), (kind, login)
            config = properties(run, client_properties("PLAIN"))
            created = run.tool(
                "delegation-tokens", "--bootstrap-server", f"localhost:{port}", "--command-config", config,
                "--create", "--max-life-time-period", "-1",
            ).ok().out  # fmt: skip
            token_id, hmac = created.split("\n\n")[-1].split()[:2]
            token[token_id] = hmac
        finally:
            broker.stop()
        data = copy_data(broker.data, run.folder / f"data-{number}")


def register_python(client: str, mechanism: str) -> None:
    @case("clients", client, f"login-{mechanism.lower()}")
    def body(run: Run) -> None:
        secret = unsecured_token() if mechanism == "OAUTHBEARER" else USERS["alice"]
        program = [sys.executable, "-W", "ignore", str(ROOT / "interop" / "clients" / "logins.py"), client]
        server, topic = f"localhost:{secured(run)[1]}", run.unique("login")
        run.program([*program, server, topic, mechanism, "alice", secret]).ok().prints("ok")


for _client in ("confluent-kafka", "kafka-python", "aiokafka"):
    for _mechanism in (*PASSWORDS, *(["OAUTHBEARER"] if _client == "confluent-kafka" else [])):
        register_python(_client, _mechanism)


def register_other(client: str, mechanism: str, command) -> None:
    @case("clients", client, f"login-{mechanism.lower()}")
    def body(run: Run) -> None:
        environment = {
            **os.environ, "SASL_MECHANISM": mechanism, "SASL_USER": "alice", "SASL_PASSWORD": USERS["alice"],
        }  # fmt: skip
        server = f"localhost:{secured(run)[1]}"
        run.program([*command(), server, "round-trip", run.unique("login")], env=environment).ok().prints("ok")


for _mechanism in PASSWORDS:
    register_other("kafkajs", _mechanism, kafkajs)
    register_other("franz-go", _mechanism, franz_go)
    register_other("rskafka", _mechanism, rskafka)


@case("clients", "kcat", "login-plain")
def kcat_login(run: Run) -> None:
    """Kcat of 2021 repeats its nonce in SCRAM, which Apache Kafka refuses too since 3.9: PLAIN alone."""
    server, topic = f"localhost:{secured(run)[1]}", run.unique("login")
    login = ["-X", "security.protocol=SASL_PLAINTEXT", "-X", "sasl.mechanism=PLAIN"]
    login += ["-X", "sasl.username=alice", "-X", f"sasl.password={USERS['alice']}"]
    kcat = [need("kcat"), "-b", server, *login]
    run.program([*kcat, "-P", "-t", topic], stdin="hello\n").ok()
    assert run.program([*kcat, "-C", "-t", topic, "-e", "-q"]).ok().out == "hello\n"
    assert json.loads(run.program([*kcat, "-L", "-J"]).ok().out)["brokers"]
