"""The official tools that look at a broker or a cluster as a whole."""

import json
import re
import threading

from interop.cases.releases import CURRENT, FOUR, RELEASES, Tools, tools


@tools(releases=RELEASES, smoke=True)
def broker_api_versions(run: Tools) -> None:
    finished = run.tool("broker-api-versions").ok()
    finished.prints(f"localhost:{run.broker.port} (id: 1 ", "Produce(0): 0 to 13", "Fetch(1): ", "usable: ")
    unknown = [line for line in finished.lines if "UNSUPPORTED" in line and run.release == "2.8.2"]
    # An API of 2.8 clients that Kafka 4 does not serve.
    gone = ("LeaderAndIsr", "StopReplica", "UpdateMetadata", "ControlledShutdown")
    assert all(any(name in line for name in gone) or "(" in line for line in unknown), unknown


@tools(releases=(*FOUR, "3.9.1"))
def cluster_id_and_endpoints(run: Tools) -> None:
    finished = run.tool("cluster", "cluster-id").ok()
    assert re.search(r"Cluster ID: [\w-]{22}", finished.out), finished.out
    if run.release in FOUR:
        run.tool("cluster", "list-endpoints").ok().prints("localhost", str(run.broker.port))


@tools()
def cluster_unregister(run: Tools) -> None:
    run.tool("cluster", "unregister", "--id", "77").failed("77")


@tools(releases=(*FOUR, "3.9.1"))
def features_describe(run: Tools) -> None:
    finished = run.tool("features", "describe").ok()
    finished.prints("Feature: metadata.version", "Feature: kraft.version")
    finished.prints("FinalizedVersionLevel: " + ("4.4-IV2" if run.release == CURRENT else "UNKNOWN 33"))
    finished.prints("Epoch: ")


@tools(requires=("EndTxn", "ConsumerGroupHeartbeat"))
def features_of_groups_and_transactions(run: Tools) -> None:
    finished = run.tool("features", "describe").ok()
    finished.prints("Feature: group.version", "Feature: transaction.version")


@tools()
def features_upgrade_and_downgrade(run: Tools) -> None:
    run.tool("features", "upgrade", "--feature", "no.such.feature=1").failed("no.such.feature")
    run.tool("features", "upgrade", "--feature", "metadata.version=999").failed()
    run.tool("features", "upgrade", "--feature", "transaction.version=2", "--dry-run").prints("transaction.version")
    run.tool("features", "version-mapping", "--release-version", "4.4").ok().prints("metadata.version")


@tools(releases=(*FOUR, "3.9.1"), smoke=True)
def metadata_quorum(run: Tools) -> None:
    run.tool("metadata-quorum", "describe", "--status").ok().prints(
        "LeaderId:               1", "HighWatermark:", "CurrentVoters:"
    )
    replication = run.tool("metadata-quorum", "describe", "--replication").ok()
    assert re.search(r"^1\s.*Leader", replication.out, re.MULTILINE), replication.out
    run.tool("metadata-quorum", "describe", "--replication", "--human-readable").ok().prints("Leader")


@tools(releases=RELEASES)
def log_dirs(run: Tools) -> None:
    topic = run.topic(partitions=2)
    run.produce(topic, "x" * 1000)
    finished = run.tool(
        "log-dirs", "--describe", "--topic-list", topic, "--broker-list", "1", "--bootstrap-server", run.bootstrap
    ).ok()
    answer = json.loads(next(line for line in finished.lines if line.startswith("{")))
    (broker,) = answer["brokers"]
    assert broker["broker"] == 1
    (folder,) = broker["logDirs"]
    assert folder["error"] is None
    partitions = {entry["partition"]: entry for entry in folder["partitions"]}
    assert set(partitions) == {f"{topic}-0", f"{topic}-1"}, partitions
    assert sum(entry["size"] for entry in partitions.values()) > 1000, partitions
    assert all(entry["offsetLag"] == 0 and not entry["isFuture"] for entry in partitions.values()), partitions


@tools(releases=RELEASES)
def leader_election(run: Tools) -> None:
    topic = run.topic(partitions=2)
    elect = ("leader-election", "--election-type", "preferred")
    run.tool(*elect, "--topic", topic, "--partition", "0").ok().prints("Valid replica already elected")
    run.tool(*elect, "--all-topic-partitions").ok()
    plan = run.folder / "election.json"
    plan.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 1}]}))
    run.tool("leader-election", "--election-type", "unclean", "--path-to-json-file", str(plan)).ok().prints(
        "already elected"
    )
    run.tool(*elect, "--topic", topic, "--partition", "9").failed(topic)


@tools(releases=RELEASES)
def reassign_partitions(run: Tools) -> None:
    topic = run.topic(partitions=2)
    wish = run.folder / "topics.json"
    wish.write_text(json.dumps({"topics": [{"topic": topic}], "version": 1}))
    generated = run.tool(
        "reassign-partitions",
        "--generate",
        "--topics-to-move-json-file",
        str(wish),
        "--broker-list",
        "1",
        "--bootstrap-server",
        run.bootstrap,
    ).ok()
    generated.prints("Current partition replica assignment", "Proposed partition reassignment configuration", topic)
    plan = run.folder / "plan.json"
    entries = [{"topic": topic, "partition": n, "replicas": [1], "log_dirs": ["any"]} for n in (0, 1)]
    plan.write_text(json.dumps({"version": 1, "partitions": entries}))
    assignment = ("--reassignment-json-file", str(plan))
    run.tool("reassign-partitions", "--execute", *assignment).ok().prints("Successfully started partition reassignment")
    run.tool("reassign-partitions", "--verify", *assignment).ok().prints("complete")
    run.tool("reassign-partitions", "--list").ok().prints("No partition reassignments found.")
    run.tool("reassign-partitions", "--cancel", *assignment).ok()


@tools()
def reassign_to_an_unknown_broker(run: Tools) -> None:
    topic = run.topic()
    plan = run.folder / "plan.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [9]}]}))
    run.tool("reassign-partitions", "--execute", "--reassignment-json-file", str(plan)).failed("9")


@tools(releases=RELEASES)
def acls_without_an_authorizer(run: Tools) -> None:
    run.tool("acls", "--list").failed("SecurityDisabledException")
    run.tool("acls", "--add", "--allow-principal", "User:a", "--operation", "Read", "--topic", "t").failed(
        "SecurityDisabled"
    )


@tools()
def delegation_tokens_are_refused(run: Tools) -> None:
    config = run.folder / "empty.properties"
    config.write_text("")
    created = run.tool("delegation-tokens", "--create", "--max-life-time-period", "-1", "--command-config", str(config))
    created.failed("DelegationToken")
    described = run.tool("delegation-tokens", "--describe", "--command-config", str(config))
    described.failed("DelegationToken")


one_at_a_time = threading.Lock()


@tools(releases=RELEASES)
def client_compatibility_test(run: Tools) -> None:
    with one_at_a_time:  # its topics have fixed names
        run.tool("topics", "--delete", "--topic", "newtopic", "--if-exists", release=CURRENT).ok()
        client_compatibility(run)


def client_compatibility(run: Tools) -> None:
    expected = [
        "--topic", run.unique("compat"), "--offsets-for-times-supported", "true", "--cluster-id-supported", "true",
        "--expect-record-too-large-exception", "false", "--num-cluster-nodes", "1", "--create-topics-supported", "true",
        "--describe-acls-supported", "true", "--describe-configs-supported", "true",
    ]  # fmt: skip
    if run.release != "2.8.2":
        expected += ["--idempotent-producer-supported", "true"]
    finished = run.tool("client-compatibility", *expected)
    finished.ok()


@tools(releases=(*FOUR, "3.9.1"))
def streams_application_reset(run: Tools) -> None:
    topic, application = run.topic("input"), run.unique("app")
    run.produce(topic, "a", "b")
    run.consume(topic, 2, "--group", application)
    reset = run.tool(
        "streams-application-reset", "--application-id", application, "--input-topics", topic, "--to-earliest"
    )
    reset.ok().prints("Reset-offsets for input topics")
    assert run.consume(topic, 2, "--group", application) == ["a", "b"]
