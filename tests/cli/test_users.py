"""``kwire users``, ``--user``, the twin of kafka-delegation-tokens and the ``users`` of the pytest fixture."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from kwire.cli.main import main
from kwire.cli.script_twins import run as run_script
from kwire.testing import BrokerConfigError, KafkaBroker

MODULES = "org.apache.kafka.common.security."
ADMIN = {"admin": "admin-secret"}


def client(user, password, mechanism="SCRAM-SHA-256", more=""):
    kind = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
    return (
        f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\n"
        f'sasl.jaas.config={MODULES}{kind} required username="{user}" password="{password}"{more};\n'
    )


@pytest.fixture(scope="module")
def secured():
    with KafkaBroker(users=ADMIN, config={"delegation.token.secret.key": "k"}) as broker:
        yield broker


@pytest.fixture
def call(secured, tmp_path):
    def run(*arguments, user="admin", password="admin-secret", mechanism="SCRAM-SHA-256", stdin=None):
        path = tmp_path / "client.properties"
        path.write_text(client(user, password, mechanism))
        where = ["-b", secured.bootstrap_servers, "--config", str(path)]
        return CliRunner().invoke(main, [*arguments, *where], input=stdin)

    return run


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_users_of_the_fixture_log_in(call, mechanism):
    assert call("topics", "list", mechanism=mechanism).exit_code == 0


@pytest.mark.parametrize(
    ("mechanism", "words"), [("PLAIN", "Invalid username or password"), ("SCRAM-SHA-512", "invalid")]
)
def test_a_wrong_password_is_a_sentence(call, mechanism, words):
    refused = call("topics", "list", password="s3cret", mechanism=mechanism)
    assert refused.exit_code == 1
    assert words in refused.stderr
    assert "s3cret" not in refused.output


def test_users_are_added_and_removed(call):
    assert call("users", "list").stdout.splitlines() == [
        "USER   MECHANISMS",
        "admin  SCRAM-SHA-256, SCRAM-SHA-512",
    ]
    added = call("users", "add", "carol", "--password-stdin", stdin="c-secret\n")
    assert added.stdout == "carol can log in with SCRAM-SHA-256 and SCRAM-SHA-512\n"
    assert call("topics", "list", user="carol", password="c-secret").exit_code == 0
    assert call("users", "add", "carol", stdin="other\nother\n").exit_code == 0
    assert call("topics", "list", user="carol", password="c-secret").exit_code == 1

    one = call("users", "add", "dave", "--mechanism", "SCRAM-SHA-512", "--iterations", "5000", stdin="d\nd\n")
    assert one.stdout.splitlines()[-1] == "dave can log in with SCRAM-SHA-512"
    described = {user["name"]: user["mechanisms"] for user in json.loads(call("users", "list", "--json").stdout)}
    assert described["dave"] == [{"name": "SCRAM-SHA-512", "iterations": 5000}]

    assert call("users", "remove", "carol", "dave").stdout == "removed carol\nremoved dave\n"
    assert call("topics", "list", user="carol", password="other").exit_code == 1
    missing = call("users", "remove", "carol")
    assert (missing.exit_code, missing.stderr) == (1, "kwire: There is no user carol (RESOURCE_NOT_FOUND)\n")


def test_an_empty_password_is_refused(call):
    assert call("users", "add", "eve", "--password-stdin", stdin="\n").stderr == "kwire: the password is empty\n"


def test_a_restart_keeps_users_and_stores_none_again(tmp_path):
    with KafkaBroker(users=ADMIN, data=tmp_path) as broker:
        ends = [broker._server.broker.controller.log.end_offset]
        broker.restart()
        ends.append(broker._server.broker.controller.log.end_offset)
        broker.restart()
        ends.append(broker._server.broker.controller.log.end_offset)
    assert ends[2] - ends[1] == ends[1] - ends[0] < 6  # the records of a start, none of them of a user


@pytest.mark.parametrize("users", [{"": "x"}, {"a": ""}, {"a": 5}])
def test_users_without_name_or_password_are_refused(users):
    with pytest.raises(BrokerConfigError, match="needs a name and a password"):
        KafkaBroker(users=users)


def test_kafka_python_logs_in(secured):
    from kafka import KafkaAdminClient

    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        admin = KafkaAdminClient(
            bootstrap_servers=secured.bootstrap_servers,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism=mechanism,
            sasl_plain_username="admin",
            sasl_plain_password="admin-secret",
        )
        assert isinstance(admin.list_topics(), list)
        admin.close()


# kafka-delegation-tokens


@pytest.fixture
def tokens(secured, tmp_path, capsys):
    config = tmp_path / "admin.properties"
    config.write_text(client("admin", "admin-secret"))

    def run(*arguments):
        where = ["--bootstrap-server", secured.bootstrap_servers, "--command-config", str(config)]
        code = run_script("kafka-delegation-tokens", [*where, *arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


def test_a_token_is_created_renewed_and_expired(tokens, call, secured, tmp_path):
    code, out, _ = tokens("--create", "--max-life-time-period", "-1", "--renewer-principal", "User:bob")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "Calling create token operation with renewers :[User:bob] , max-life-time-period :-1"
    token_id = lines[1].removeprefix("Created delegation token with tokenId : ")
    assert lines[3].split() == [
        "TOKENID",
        "HMAC",
        "OWNER",
        "REQUESTER",
        "RENEWERS",
        "ISSUEDATE",
        "EXPIRYDATE",
        "MAXDATE",
    ]
    row = lines[5].split()
    assert [row[0], *row[2:5]] == [token_id, "User:admin", "User:admin", "[User:bob]"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", date) for date in row[5:])
    hmac = row[1]

    by_token = tmp_path / "token.properties"
    by_token.write_text(client(token_id, hmac, more=' tokenauth="true"'))
    where = ["-b", secured.bootstrap_servers, "--config", str(by_token)]
    assert CliRunner().invoke(main, ["topics", "list", *where]).exit_code == 0

    described = tokens("--describe", "--owner-principal", "User:admin")[1]
    assert described.startswith(
        "Calling describe token operation for owners: [User:admin]\nTotal number of tokens : 1\n"
    )
    assert hmac in described
    renewed = tokens("--renew", "--renew-time-period", "-1", "--hmac", hmac)[1]
    assert renewed.startswith(
        f"Calling renew token operation with hmac :{hmac} , renew-time-period :-1\nCompleted renew"
    )
    assert tokens("--expire", "--expiry-time-period", "-1", "--hmac", hmac)[0] == 0
    assert tokens("--describe")[1].startswith(
        "Calling describe token operation for current user.\nTotal number of tokens : 0\n"
    )
    assert CliRunner().invoke(main, ["topics", "list", *where]).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--create", "--renew"], "Command must include exactly one action: --create, --renew, --expire or --describe"),
        (["--create"], 'Missing required argument "[max-life-time-period]"'),
        (["--renew", "--hmac", "eA=="], 'Missing required argument "[renew-time-period]"'),
        (["--expire", "--expiry-time-period", "1"], 'Missing required argument "[hmac]"'),
        (["--describe", "--hmac", "eA=="], "can't be used with"),
        (["--create", "--max-life-time-period", "soon"], "Cannot parse argument 'soon' of option max-life-time-period"),
        (
            ["--describe", "--owner-principal", "bob"],
            "expected a string in format principalType:principalName but got bob",
        ),
        (["--renew", "--renew-time-period", "-1", "--hmac", "eA=="], "DelegationTokenNotFoundException"),
    ],
)
def test_an_invalid_command_line_is_refused(tokens, arguments, complaint):
    code, out, err = tokens(*arguments)
    assert code == 1
    assert complaint in out + err
