"""``kwire acls`` and the twin of kafka-acls, as a person types them."""

import json

import pytest
from click.testing import CliRunner

from kwire.cli.main import main
from kwire.cli.script_twins import run
from kwire.testing import BrokerConfigError, BrokerStartError, KafkaBroker

pytestmark = pytest.mark.kafka(config={"super.users": "User:ANONYMOUS"}, acls=["bob may read topic b"])


@pytest.fixture
def acls(kafka):
    def invoke(*arguments):
        return CliRunner(env={"KWIRE_BOOTSTRAP": kafka.bootstrap_servers}).invoke(main, ["acls", *arguments])

    return invoke


@pytest.fixture
def twin(kafka, capsys):
    def invoke(*arguments):
        code = run("kafka-acls", ["--bootstrap-server", kafka.bootstrap_servers, *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return invoke


def test_rules_are_added_listed_and_removed_as_sentences(acls):
    added = acls("add", "alice may read,describe topic orders", "anyone may not write topic pay* from 10.0.0.7")
    listed = acls("list").stdout.splitlines()
    removed = acls("remove", "alice may read topic orders")

    assert added.output.splitlines() == [
        "added: alice may read topic orders",
        "added: alice may describe topic orders",
        "added: anyone may not write topic pay* from 10.0.0.7",
    ]
    assert listed == [
        "alice may describe topic orders",
        "alice may read topic orders",
        "anyone may not write topic pay* from 10.0.0.7",
        "bob may read topic b",
    ]
    assert (removed.exit_code, removed.output) == (0, "removed: alice may read topic orders\n")
    assert len(acls("list").stdout.splitlines()) == 3


def test_the_rules_of_a_principal_are_listed_and_removed(acls):
    acls("add", "alice may all cluster", "alice may all topic *")
    shown = json.loads(acls("list", "--principal", "alice", "--json").stdout)

    assert [one["rule"] for one in shown] == ["alice may all cluster", "alice may all topic *"]
    assert shown[0]["resourceName"] == "kafka-cluster"
    assert acls("remove", "--principal", "User:alice").exit_code == 0
    assert acls("list").stdout == "bob may read topic b\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "alice reads orders"), "kwire: 'alice reads orders' is no ACL"),
        (("remove", "alice may read topic orders"), "kwire: there is no such rule: alice may read topic orders"),
        (("remove",), "Name rules to remove, or --principal."),
    ],
)
def test_refusals_are_one_sentence(acls, arguments, said):
    ended = acls(*arguments)

    assert ended.exit_code != 0
    assert said in ended.output


@pytest.mark.kafka(acls=[])
def test_a_client_that_may_not_see_the_rules_gets_a_refusal(acls):
    ended = acls("list")

    assert ended.exit_code == 1
    assert "CLUSTER_AUTHORIZATION_FAILED" in ended.output


@pytest.mark.kafka
def test_a_broker_without_an_authorizer_says_so(acls):
    ended = acls("list")

    assert ended.exit_code == 1
    assert "No Authorizer is configured on the broker (SECURITY_DISABLED)" in ended.output


ORDERS = "ResourcePattern(resourceType=TOPIC, name=orders, patternType=LITERAL)"
ALICE = "(principal=User:alice, host=*, operation=READ, permissionType=ALLOW)"


def test_the_twin_runs_by_its_name(kafka):
    arguments = ["scripts", "kafka-acls", "--bootstrap-server", kafka.bootstrap_servers, "--list"]
    ended = CliRunner().invoke(main, arguments)

    assert ended.exit_code == 0
    assert "name=b, patternType=LITERAL" in ended.output


def test_the_twin_adds_lists_and_removes(twin):
    wanted = ("--allow-principal", "User:alice", "--operation", "Read", "--topic", "orders")
    assert twin("--add", *wanted) == (0, f"Adding ACLs for resource `{ORDERS}`: \n \t{ALICE} \n\n", "")
    assert twin("--add", *wanted) == (0, f"Acl (pattern={ORDERS}, entry={ALICE}) already exists.\n", "")
    assert twin("--list", "--topic", "orders") == (0, f"Current ACLs for resource `{ORDERS}`: \n \t{ALICE} \n\n", "")
    assert twin("--list", "--topic", "orders", "--principal", "User:eve")[1] == "ACLs for principal `User:eve`\n"
    assert twin("--remove", "--force", *wanted) == (0, "", "")
    assert twin("--list", "--topic", "orders") == (0, "", "")


def test_the_twin_adds_the_acls_of_producers_and_consumers(twin, acls):
    roles = ("--producer", "--consumer", "--idempotent", "--topic", "t", "--group", "g", "--transactional-id", "x")
    assert twin("--add", "--allow-principal", "User:app", *roles)[0] == 0

    assert acls("list", "--principal", "app").stdout.splitlines() == [
        "app may create topic t",
        "app may describe topic t",
        "app may describe transactional-id x",
        "app may idempotent-write cluster",
        "app may read group g",
        "app may read topic t",
        "app may write topic t",
        "app may write transactional-id x",
    ]


def test_the_twin_adds_prefixed_rules_and_denials(twin, acls):
    assert twin("--add", "--deny-principal", "User:eve", "--deny-host", "10.0.0.1", "--operation", "AlterConfigs",
                "--topic", "pay", "--resource-pattern-type", "prefixed")[0] == 0  # fmt: skip

    assert acls("list", "--principal", "eve").stdout == "eve may not alter-configs topic pay* from 10.0.0.1\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--list", "--topic", "t", "--resource-pattern-type", "other"),
            "Error while executing ACL command: Cannot parse argument 'other' of option resource-pattern-type",
        ),
        (("--list", "--add"), "Command must include exactly one action: --list, --add, --remove."),
        (("--add", "--topic", "t"), "You must specify one of: --allow-principal, --deny-principal"),
        (("--add", "--allow-principal", "User:a"), "You must provide at least one resource"),
        (
            ("--add", "--topic", "t", "--resource-pattern-type", "match"),
            "value of 'MATCH' is not valid when adding acls",
        ),
        (("--list", "--producer"), 'Option "[list]" can\'t be used with option "[producer]"'),
        (("--add", "--producer", "--allow-principal", "User:a"), "With --producer you must specify a --topic"),
        (("--add", "--allow-principal", "User:a", "--cluster", "--operation", "Read"), "only supports operations"),
        (("--add", "--idempotent", "--allow-principal", "User:a"), "only available if --producer is set"),
        (("--add", "--principal", "User:a", "--topic", "t"), "only available if --list is set"),
    ],
)
def test_the_twin_refuses_invalid_combinations(twin, arguments, said):
    code, out, err = twin(*arguments)

    assert code == 1
    assert said in out + err


# --- the fixture ---


@pytest.mark.kafka(topics=["orders"], acls=["anyone may read topic orders"])
def test_the_fixture_refuses_what_its_rules_do_not_allow_until_one_is_added(kafka):
    def produced():
        arguments = ["produce", "-b", kafka.bootstrap_servers, "orders", "hello"]
        return CliRunner().invoke(main, arguments).exit_code

    assert produced() == 1
    kafka.add_acls("anyone may write topic orders", "anyone may idempotent-write cluster")
    assert produced() == 0


def test_invalid_rules_are_refused_in_one_sentence():
    with pytest.raises(BrokerConfigError, match="is no ACL"):
        KafkaBroker(acls=["everybody reads"])
    with pytest.raises(BrokerConfigError, match="is one string"):
        KafkaBroker(acls="alice may read topic a")
    with (
        pytest.raises(BrokerStartError, match="could not be found"),
        KafkaBroker(config={"authorizer.class.name": "x.Y"}),
    ):
        pass


# --- kwire doctor ---


def access_of(kafka):
    ended = CliRunner().invoke(main, ["doctor", kafka.bootstrap_servers, "--json"])
    return [(one["level"], one["what"]) for one in json.loads(ended.stdout)["findings"] if one["step"] == "access"]


@pytest.mark.kafka(topics=["a", "b", "c"], acls=["anyone may read topic a", "anyone may write topic b"])
def test_doctor_reports_the_rights_of_a_client(kafka):
    ((level, what),) = access_of(kafka)

    assert level == "warning"
    assert "of the 2 topics that this client sees it may read 1 and write to 1" in what


@pytest.mark.kafka(topics=["a"], acls=[])
def test_doctor_says_that_a_client_may_describe_no_topic(kafka):
    ((level, what),) = access_of(kafka)

    assert (level, what) == (
        "warning",
        "an authorizer decides what clients may do, and this client may describe no topic",
    )


@pytest.mark.kafka(config={"super.users": "User:ANONYMOUS"}, acls=[])
def test_doctor_has_no_advice_for_a_super_user_of_an_empty_broker(kafka):
    ((level, what),) = access_of(kafka)

    assert (level, what) == ("ok", "an authorizer decides what clients may do; this client may list the rules")


@pytest.mark.kafka(topics=["a"])
def test_doctor_reports_no_access_without_an_authorizer(kafka):
    assert access_of(kafka) == []
