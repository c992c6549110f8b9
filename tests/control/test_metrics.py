"""Metrics for Prometheus, and the dashboard that reads them."""

import http.client
import json
import re
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from test_http import Running

from kwire.cli.control.ctl import ctl
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch

DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana" / "kwire.json"


@pytest.fixture(scope="module")
def shared():
    with Running() as running:
        yield running


@pytest.fixture
def control(shared):
    shared.ask("POST", "/v1/reset")
    shared.ask("POST", "/v1/topics", {"name": "orders", "partitions": 2})
    return shared


def scrape(control):
    """All samples, as a mapping of name and labels to the value."""
    connection = http.client.HTTPConnection("127.0.0.1", control.port, timeout=150)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def call(control, version, request):
    with socket.create_connection(("localhost", control.server.bindings[0].port), timeout=150) as client:
        client.sendall(codec.encode_request(request.KEY, version, 7, "client", request))
        size = int.from_bytes(client.recv(4), "big")
        frame = b""
        while len(frame) < size:
            frame += client.recv(size - len(frame))
    return codec.decode_response(request.KEY, version, memoryview(frame))[1]


def produce(control, count, topic="orders"):
    batch = build_batch([Record(number, 1, None, b"x") for number in range(count)])
    partition = m.ProduceRequest.PartitionProduceData(index=1, records=batch)
    data = m.ProduceRequest.TopicProduceData(name=topic, partition_data=[partition])
    call(control, 9, m.ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data]))
    return len(batch)


def fetch(control):
    partition = m.FetchRequest.FetchPartition(partition=1, fetch_offset=0, partition_max_bytes=1 << 20)
    topic = m.FetchRequest.FetchTopic(topic="orders", partitions=[partition])
    return call(control, 11, m.FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=1 << 20, topics=[topic]))


def commit(control):
    partition = m.OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=1, committed_offset=1)
    topic = m.OffsetCommitRequest.OffsetCommitRequestTopic(name="orders", partitions=[partition])
    call(control, 8, m.OffsetCommitRequest(group_id="g", generation_id_or_member_epoch=-1, topics=[topic]))


def test_records_and_bytes_are_counted_by_topic(control):
    size = produce(control, 3)
    fetch(control)
    produce(control, 1, "none")
    seen = scrape(control)
    topic = ("topic", "orders")
    assert seen["kafka_server_brokertopicmetrics_messagesin_total", topic] == 3
    assert seen["kafka_server_brokertopicmetrics_bytesin_total", topic] == size
    assert seen["kafka_server_brokertopicmetrics_bytesout_total", topic] == size
    assert seen["kafka_server_brokertopicmetrics_failedproducerequests_total", ("topic", "none")] == 1
    assert seen["kafka_log_log_logendoffset", ("partition", "1"), topic] == 3
    assert seen["kafka_topic_partition_current_offset", ("partition", "1"), topic] == 3


def test_requests_are_counted_by_api_with_their_times(control):
    control.heartbeat()
    control.heartbeat()
    seen = scrape(control)
    assert seen["kafka_network_requestmetrics_requests_total", ("request", "Heartbeat"), ("version", "4")] == 2
    assert seen["kafka_network_requestmetrics_totaltimems_count", ("request", "Heartbeat")] == 2
    assert seen["kafka_network_requestmetrics_totaltimems", ("quantile", "0.99"), ("request", "Heartbeat")] >= 0


def test_groups_have_lag_and_the_broker_its_partitions(control):
    produce(control, 3)
    commit(control)
    seen = scrape(control)
    group = (("consumergroup", "g"), ("partition", "1"), ("topic", "orders"))
    assert seen["kafka_consumergroup_lag", *group] == 2
    assert seen["kafka_consumergroup_current_offset", *group] == 1
    assert seen["kafka_consumergroup_members", ("consumergroup", "g")] == 0
    assert seen["kafka_server_replicamanager_partitioncount",] >= 2
    assert seen["kafka_server_replicamanager_underreplicatedpartitions",] == 0
    assert seen["kafka_controller_kafkacontroller_offlinepartitionscount",] == 0
    assert ("kafka_server_socketservermetrics_connection_count", ("listener", "PLAINTEXT")) in seen
    assert seen["process_resident_memory_bytes",] > 0


def test_fsyncs_are_counted_with_their_times(control):
    control.ask("POST", "/v1/topics", {"name": "flushed", "partitions": 2, "configs": {"flush.messages": 1}})
    before = scrape(control)
    produce(control, 1, "flushed")
    seen = scrape(control)
    name = "kafka_log_logflushstats_logflushrateandtimems"
    assert seen[f"{name}_count",] - before[f"{name}_count",] == 1
    assert seen[f"{name}_sum",] >= seen[name, ("quantile", "0.5")] >= 0
    assert seen["kwire_log_flush_errors_total",] == 0
    control.ask("POST", "/v1/faults", {"topic": "flushed", "fsync_error": True})
    produce(control, 1, "flushed")
    control.ask("DELETE", "/v1/faults")
    assert scrape(control)["kwire_log_flush_errors_total",] == 1


def test_compaction_is_counted(control):
    from kwire.broker.background.cleaner import Cleaner

    broker = control.server.broker
    assert "kafka_log_logcleanermanager_max_dirty_percent" not in {name for name, *_ in scrape(control)}
    broker.housekeeping.cleaner = Cleaner(
        partitions=broker.partitions,
        dirs=broker.dirs,
        clock=broker.clock,
        configs=broker.configs,
        file_remover=broker.file_remover,
        storage_failures=broker.storage_failures,
    )
    cleaner = broker.housekeeping.cleaner
    cleaner.dirtiest_ratio, cleaner.rounds_done, cleaner.bytes_read, cleaner.bytes_written = 0.25, 2, 300, 100
    cleaner.uncleanable[broker.partitions.get("orders", 0)] = "broken"
    seen = scrape(control)
    manager = "kafka_log_logcleanermanager"
    assert seen[f"{manager}_max_dirty_percent",] == 25
    assert seen[f"{manager}_uncleanable_partitions_count", ("logDirectory", "/kwire")] == 1
    assert seen["kwire_log_cleaner_rounds_running",] == 0
    assert seen["kwire_log_cleaner_rounds_total",] == 2
    assert seen["kwire_log_cleaner_bytes_read_total",] == 300
    assert seen["kwire_log_cleaner_bytes_written_total",] == 100


def test_counts_begin_again_after_a_reset(control):
    produce(control, 3)
    control.ask("POST", "/v1/reset")
    assert ("kafka_server_brokertopicmetrics_messagesin_total", ("topic", "orders")) not in scrape(control)


def test_each_metric_of_the_dashboard_is_served(control):
    produce(control, 1)
    fetch(control)
    control.server.broker.watchdog.report("Produce", 1.0)
    commit(control)
    served = {name for name, *_ in scrape(control)}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"\b(?:kafka|kwire|process)_\w+", target["expr"])
    }
    assert asked
    assert asked - served == set()


def test_the_command_prints_them(control):
    ended = CliRunner().invoke(ctl, ["--url", f"http://127.0.0.1:{control.port}", "metrics"])
    assert (ended.exit_code, "kafka_server_replicamanager_partitioncount " in ended.stdout) == (0, True)


def test_probes_say_whether_clients_can_connect(control):
    assert control.ask("GET", "/livez")[1]["status"] == "ok"
    assert control.ask("GET", "/readyz")[0] == 200
    control.server.reopening = object()
    try:
        assert control.ask("GET", "/readyz")[0] == 503
        assert control.ask("GET", "/livez")[0] == 200
    finally:
        control.server.reopening = None
