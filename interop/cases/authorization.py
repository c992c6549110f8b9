"""A sample of the authorization matrix, and the official tool for ACLs beside its twin."""

from interop.advertised import advertised
from interop.authorization.brokers import PLAIN, LoggedIn, SecuredApache, SecuredKwire, client_of, make
from interop.authorization.matrix import Choice, ask_all, chosen, compare, prepare
from interop.authorization.principals import PASSWORD, PRINCIPALS, one_acl
from interop.brokers import PYTHON, copy_data
from interop.case import Run, case
from interop.jars import CURRENT, classpath, need
from interop.tools import main_class

SAMPLE = ("ANONYMOUS", "admin", "owner", "reader", "writer", "prefixed", "denied", "elsewhere", "token")
EVERY = 3


@case("oracle", "ACLs", "authorization-matrix-sample")
def authorization_matrix_sample(run: Run) -> None:
    """Nine principals, a third of the questions; ``python -m interop authorization`` asks all of them."""
    brokers = make("apache", run.folder / "apache"), make(run.target, run.folder / "other")
    try:
        for broker in brokers:
            broker.start()
        choice = Choice(SAMPLE, (), EVERY, advertised(brokers[0]) & advertised(brokers[1]))
        lines, _ = compare(*(ask_all(broker, chosen(choice), choice) for broker in brokers))
    finally:
        for broker in brokers:
            broker.kill()
    assert not lines, f"{len(lines)} differences (Apache Kafka / the broker under test)\n" + "\n".join(lines[:60])


@case("datadirs", "ACLs", "acls-of-the-other-broker-decide")
def acls_of_the_other_broker_decide(run: Run) -> None:
    """ACLs that one broker has written hold on the other, and the other way round: the answers are the same."""
    choice = Choice(("owner", "reader", "denied"), ("Metadata", "OffsetFetch", "DescribeAcls"))
    for first, second in (("apache", SecuredKwire), ("kwire", SecuredApache)):
        writer = make(first, run.folder / f"by-{first}")
        reader = second(run.folder / f"read-by-{second.name}", data=run.folder / f"copy-of-{first}")
        try:
            writer.start()
            written = ask_all(writer, chosen(choice), choice)
            writer.stop()
            copy_data(writer.data, reader.data)
            reader.start()
            read = ask_all(reader, chosen(choice), choice._replace(prepared=True))
        finally:
            writer.kill()
            reader.kill()
        lines, _ = compare(written, read) if first == "apache" else compare(read, written)
        lines = [line for line in lines if ".leaderEpoch: " not in line]  # a start begins a new one
        assert not lines, f"ACLs of {first} read by {second.name}: " + "\n".join(lines[:40])


ADD = ("--add", "--allow-principal", "User:alice", "--operation", "Read", "--topic", "orders")
PRODUCER = ("--add", "--allow-principal", "User:app", "--producer", "--idempotent", "--topic", "t")
LINES: tuple[tuple[str, ...], ...] = (
    ADD,
    (*ADD, "--group", "g", "--cluster"),
    PRODUCER,
    (*PRODUCER, "--transactional-id", "x", "--consumer", "--group", "g"),
    ("--add", "--deny-principal", "User:eve", "--deny-host", "10.0.0.1", "--topic", "pay",
     "--resource-pattern-type", "prefixed"),
    ("--list",),
    ("--list", "--topic", "orders"),
    ("--list", "--topic", "payments", "--resource-pattern-type", "match"),
    ("--list", "--principal", "User:alice", "--principal", "User:app"),
    ("--list", "--topic", "none"),
    ("--remove", "--force", *ADD[1:]),
    ("--remove", "--force", "--topic", "pay", "--resource-pattern-type", "prefixed"),
    ("--list", "--topic", "pay", "--resource-pattern-type", "prefixed"),
    ("--remove", "--force", "--topic", "*", "--group", "*", "--cluster"),
    ("--add", "--topic", "t"),
    ("--add", "--allow-principal", "alice", "--topic", "t"),
    ("--add", "--allow-principal", "User:a"),
    ("--add", "--allow-principal", "User:a", "--operation", "Fly", "--topic", "t"),
    ("--add", "--allow-principal", "User:a", "--operation", "Write", "--group", "t"),
    ("--add", "--allow-principal", "User:a", "--topic", "t", "--resource-pattern-type", "match"),
    ("--add", "--allow-principal", "User:a", "--topic", "t", "--resource-pattern-type", "other"),
    ("--add", "--list"),
    ("--list", "--producer"),
    ("--add", "--producer", "--allow-principal", "User:a"),
    ("--add", "--idempotent", "--allow-principal", "User:a", "--topic", "t"),
    ("--add", "--allow-principal", "User:a", "--topic", ""),
    ("--list", "--cluster"),
)  # fmt: skip
ASKING = 14


EVERY_ACL = {
    "resourceTypeFilter": 1, "resourceNameFilter": None, "patternTypeFilter": 1, "principalFilter": None,
    "hostFilter": None, "operation": 1, "permissionType": 1,
}  # fmt: skip


def printed(out: str) -> list[str]:
    """What a run printed, in an order of its own: the official tool prints hash tables."""
    trace = ("\tat ", "\t... ", "Caused by: ", "java.", "joptsimple.", "org.apache.")
    return sorted(line.strip() for line in out.splitlines() if line.strip() and not line.startswith(trace))


def _run(run: Run, tool: str, *arguments: str) -> tuple[int, list[str]]:
    # The official tool ends its process, so it does not run in the resident JVM.
    command = [PYTHON, "-P", "-m", "kwire", "scripts", "kafka-acls"]
    if tool == "official":
        quick = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
        command = [need("java"), *quick, "-cp", classpath(), main_class("acls", CURRENT)]
    ended = run.program([*command, *arguments], stdin="n\n")
    return ended.code, printed(ended.out)


def _remove_acls(broker: SecuredApache | SecuredKwire) -> None:
    admin = client_of(broker, "admin")
    admin.ask("DeleteAcls", 3, {"filters": [EVERY_ACL]}, note=False)
    admin.until("DescribeAcls", 3, EVERY_ACL, lambda got: not got["resources"], timeout_s=60)
    admin.close()


@case("tools", "kafka-acls", "official-output-and-twin")
def official_output_and_twin(run: Run) -> None:
    """The official tool prints the same on both brokers, and its twin prints what it prints."""
    outputs: dict[str, list[tuple[int, list[str]]]] = {}
    for kind in ("apache", "kwire"):
        broker = make(kind, run.folder / kind)
        try:
            broker.start()
            config = run.folder / "admin.properties"
            config.write_text(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
                f'sasl.jaas.config={PLAIN} username="admin" password="{PASSWORD}";\n'
            )
            server = ("--bootstrap-server", f"127.0.0.1:{broker.sasl_port}", "--command-config", str(config))
            for tool in ("official", "twin"):
                # A line that is refused before a broker is asked needs one answer of each tool.
                lines = LINES if (kind, tool) in {("apache", "official"), ("kwire", "twin")} else LINES[:ASKING]
                outputs[f"{kind} {tool}"] = [_run(run, tool, *server, *line) for line in lines]
                _remove_acls(broker)
        finally:
            broker.kill()
    expected = outputs.pop("apache official")
    differences = [
        f"{who}: kafka-acls {' '.join(line)}\n  official on Apache Kafka: {official}\n  here: {seen}"
        for who, results in outputs.items()
        for line, official, seen in zip(LINES, expected, results, strict=False)
        if official != seen
    ]
    assert not differences, f"{len(differences)} differ\n" + "\n".join(differences)


@case("oracle", "ACLs", "limits-settings-and-creation")
def limits_settings_and_creation(run: Run) -> None:
    """10,001 ACLs in a request, the authorizer's settings in DescribeConfigs, topics that a client may not create."""
    transcripts = []
    for kind in ("apache", run.target):
        broker = make(kind, run.folder / kind)
        try:
            broker.start()
            admin, reader = client_of(broker, "admin"), client_of(broker, "reader")
            prepare(broker, [each for each in PRINCIPALS if each.name == "reader"])
            _ask_about_limits(admin)
            wanted = {"resourceType": 4, "resourceName": "1", "configurationKeys": SETTINGS}
            admin.ask("DescribeConfigs", 4, {"resources": [wanted], "includeSynonyms": True}, label="settings")
            for version in range(1, 14):
                asked = {"topics": [{"name": "m-reader-t2"}], "allowAutoTopicCreation": True}
                reader.ask("Metadata", version, asked, label="a topic that may not be seen")
            prefix = {**one_acl("reader", "new"), "resourcePatternType": 4, "operation": 8}
            admin.ask("CreateAcls", 3, {"creations": [prefix]}, note=False)
            admin.wait_for_metadata(2)
            for version in range(1, 14):
                asked = {"topics": [{"name": "new-topic"}], "allowAutoTopicCreation": True}
                reader.ask("Metadata", version, asked, label="a topic that may be seen and not created")
            transcripts.append([*admin.transcript, *reader.transcript])
        finally:
            broker.kill()
    lines, _ = compare(*transcripts)
    assert not lines, f"{len(lines)} differences (Apache Kafka / the broker under test)\n" + "\n".join(lines[:60])


SETTINGS = ["authorizer.class.name", "super.users", "allow.everyone.if.no.acl.found", "early.start.listeners"]


def _ask_about_limits(admin: LoggedIn) -> None:
    many = [one_acl("limits", f"limit-{number}") for number in range(10_001)]
    admin.ask("CreateAcls", 3, {"creations": many}, label="10,001 ACLs")
    admin.ask("CreateAcls", 3, {"creations": [*many[:5], {**many[0], "resourceName": ""}]}, label="some of them")
    admin.ask("CreateAcls", 3, {"creations": many[:10_000]}, label="10,000 ACLs", note=False)
    admin.ask("CreateAcls", 3, {"creations": many[10_000:]}, label="the last one")
    every = {
        "resourceTypeFilter": 2, "resourceNameFilter": None, "patternTypeFilter": 3,
        "principalFilter": "User:limits", "hostFilter": None, "operation": 1, "permissionType": 1,
    }  # fmt: skip
    one = {**every, "resourceNameFilter": "limit-0"}
    admin.ask("DeleteAcls", 3, {"filters": [one, every]}, label="10,001 ACLs and one of them")
    answer = admin.ask("DescribeAcls", 3, one, label="the one")
    admin.note("left", len(answer["resources"]))
