"""The performance and verification tools; the cases check that they succeed, not their speed."""

import json
import re

from interop.cases.releases import FOUR, RELEASES, Tools, tools


@tools(releases=RELEASES, smoke=True)
def producer_and_consumer_perf(run: Tools) -> None:
    topic = run.topic(partitions=3)
    server = f"bootstrap.servers={run.bootstrap}"
    config = (
        ("--bootstrap-server", run.bootstrap, "--command-property")
        if run.release in FOUR
        else ("--producer-props", server)
    )
    produced = run.tool(
        "producer-perf-test", "--topic", topic, "--num-records", "20000", "--record-size", "200", "--throughput", "-1",
        *config, "compression.type=lz4",
    ).ok()  # fmt: skip
    produced.prints("20000 records sent")
    flag = "--num-records" if run.release in FOUR else "--messages"
    read = run.tool("consumer-perf-test", "--topic", topic, flag, "20000", "--timeout", "20000", timeout_s=60).ok()
    assert re.search(r", 20000, ", read.out), read.out


@tools(releases=(*FOUR, "3.9.1"), requires=("EndTxn",))
def producer_perf_with_transactions(run: Tools) -> None:
    topic = run.topic()
    server = f"bootstrap.servers={run.bootstrap}"
    extra = ("--bootstrap-server", run.bootstrap) if run.release in FOUR else ("--producer-props", server)
    run.tool(
        "producer-perf-test", "--topic", topic, "--num-records", "2000", "--record-size", "100", "--throughput", "-1",
        "--transactional-id", run.unique("perf"), "--transaction-duration-ms", "100", *extra,
    ).ok().prints("2000 records sent")  # fmt: skip
    assert len(run.consume(topic, 2000, "--isolation-level", "read_committed")) == 2000


@tools(releases=(*FOUR, "3.9.1"))
def end_to_end_latency(run: Tools) -> None:
    topic = run.topic()
    if run.release in FOUR:
        args = ("--topic", topic, "--num-records", "50", "--producer-acks", "all", "--record-size", "100")
        finished = run.tool("e2e-latency", *args)
    else:
        finished = run.jvm.run(
            run.release, "org.apache.kafka.tools.EndToEndLatency", run.bootstrap, topic, "50", "all", "100"
        )
    finished.ok().prints("Percentiles: 50th")


@tools(releases=RELEASES, smoke=True)
def verifiable_producer_and_consumer(run: Tools) -> None:
    topic, group = run.topic(), run.unique("verifiable")
    produced = run.tool("verifiable-producer", "--topic", topic, "--max-messages", "500").ok()
    events = [json.loads(line) for line in produced.lines]
    assert sum(event["name"] == "producer_send_success" for event in events) == 500
    consumed = run.tool(
        "verifiable-consumer", "--topic", topic, "--group-id", group, "--max-messages", "500", "--reset-policy",
        "earliest", timeout_s=60,
    ).ok()  # fmt: skip
    events = [json.loads(line) for line in consumed.lines]
    assert sum(event["count"] for event in events if event["name"] == "records_consumed") == 500
    assert any(event["name"] == "shutdown_complete" for event in events), consumed.out[-300:]


@tools()
def verifiable_producer_with_acks_and_throughput(run: Tools) -> None:
    topic = run.topic()
    for acks in ("0", "1", "-1"):
        produced = run.tool(
            "verifiable-producer", "--topic", topic, "--max-messages", "50", "--acks", acks, "--throughput", "200"
        ).ok()
        assert produced.out.count("producer_send_success") == 50
    assert len(run.consume(topic, 150)) == 150


@tools(requires=("EndTxn", "ListTransactions"))
def transactions_tool(run: Tools) -> None:
    topic, transactional_id = run.topic(), run.unique("tx")
    run.tool(
        "producer-perf-test", "--topic", topic, "--num-records", "100", "--record-size", "10", "--throughput", "-1",
        "--transactional-id", transactional_id, "--bootstrap-server", run.bootstrap,
    ).ok()  # fmt: skip
    run.tool("transactions", "list").ok().prints(transactional_id, "CompleteCommit")
    run.tool("transactions", "describe", "--transactional-id", transactional_id).ok().prints(
        "CompleteCommit", "CoordinatorId"
    )
    run.tool("transactions", "describe-producers", "--topic", topic, "--partition", "0").ok().prints(
        "ProducerId", "LatestCoordinatorEpoch"
    )
    run.tool("transactions", "find-hanging", "--broker-id", "1").ok()
    run.tool("transactions", "describe", "--transactional-id", "no-such-id-at-all").failed("no-such-id-at-all")
