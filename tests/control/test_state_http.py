"""The state of a broker over HTTP and with ``kwire ctl``."""

import json

import pytest
from click.testing import CliRunner
from test_http import Running

from kwire.cli.control.ctl import ctl


@pytest.fixture(scope="module")
def shared():
    with Running() as running:
        yield running


@pytest.fixture
def control(shared):
    shared.ask("POST", "/v1/reset")
    return shared


def run(control, *arguments):
    ended = CliRunner().invoke(ctl, ["--url", f"http://127.0.0.1:{control.port}", *arguments])
    return ended.exit_code, json.loads(ended.stdout) if ended.stdout else ended.stderr


def seed(*values):
    return {"topics": {"orders": {"partitions": 1, "records": [{"value": value} for value in values]}}}


def values(control):
    return [each["value"] for each in control.ask("GET", "/v1/topics/orders/records")[1]]


def test_a_broker_is_seeded_kept_emptied_and_restored(control):
    assert control.ask("POST", "/v1/seed", seed("a", "b")) == (201, {"topics": 1, "records": 2})
    status, made = control.ask("POST", "/v1/snapshots", {"name": "loaded"})
    assert (status, made["name"], made["bytes"] > 0) == (201, "loaded", True)
    assert control.ask("POST", "/v1/reset")[0] == 204
    assert control.ask("GET", "/v1/topics/orders/records")[0] == 404
    assert control.ask("POST", "/v1/snapshots/loaded/restore")[0] == 200
    assert values(control) == ["a", "b"]
    assert [each["name"] for each in control.ask("GET", "/v1/snapshots")[1]] == ["loaded"]
    assert control.ask("DELETE", "/v1/snapshots/loaded")[0] == 200
    assert control.ask("POST", "/v1/snapshots/loaded/restore")[0] == 404


def test_requests_are_logged_after_a_reset(control):
    control.heartbeat("after")
    assert len(control.ask("GET", "/v1/requests?group=after")[1]) == 1


def test_a_fork_has_its_own_control(control):
    control.ask("POST", "/v1/seed", seed("a"))
    status, fork = control.ask("POST", "/v1/forks")
    assert status == 201
    assert control.ask("GET", "/v1/forks")[1] == [fork]
    control.ask("POST", "/v1/reset")
    port = int(fork["control"].rpartition(":")[2])
    own, control.port = control.port, port
    try:
        assert values(control) == ["a"]
    finally:
        control.port = own
    assert control.ask("DELETE", f"/v1/forks/{fork['name']}")[0] == 204
    assert control.ask("DELETE", f"/v1/forks/{fork['name']}")[0] == 404


def test_a_directory_is_written_and_read(control, tmp_path):
    control.ask("POST", "/v1/seed", seed("a"))
    directory = str(tmp_path / "saved")
    assert run(control, "snapshot", "save", directory)[0] == 0
    assert control.ask("POST", "/v1/snapshots", {"directory": directory})[0] == 400
    control.ask("POST", "/v1/reset")
    assert run(control, "snapshot", "load", directory)[0] == 0
    assert values(control) == ["a"]
    (tmp_path / "saved" / "meta.properties").write_text("version=1\ncluster.id=x\nnode.id=77\n")
    code, sentence = run(control, "snapshot", "load", directory)
    assert (code, sentence.startswith("kwire ctl: cannot restore")) == (1, True)
    assert values(control) == ["a"]


def test_the_commands_do_the_same(control, tmp_path):
    (tmp_path / "orders.jsonl").write_text('{"value": "x"}\n{"value": "y"}\n')
    (tmp_path / "seed.json").write_text('{"topics": {"orders": {"records": "orders.jsonl"}}}')
    assert run(control, "seed", str(tmp_path / "seed.json")) == (0, {"topics": 1, "records": 2})
    assert [each["value"] for each in run(control, "records", "orders", "--last", "1")[1]] == ["y"]
    assert len(run(control, "export", "orders")[1]["topics"]["orders"]["records"]) == 2
    assert run(control, "snapshot", "make", "s")[0] == 0
    assert run(control, "reset")[0] == 0
    assert run(control, "snapshot", "restore", "s")[0] == 0
    assert values(control) == ["x", "y"]
    assert [each["name"] for each in run(control, "snapshot", "list")[1]] == ["s"]
    assert run(control, "snapshot", "remove", "s")[0] == 0
    _, fork = run(control, "fork", "start")
    assert [each["name"] for each in run(control, "fork", "list")[1]] == [fork["name"]]
    assert run(control, "fork", "end", fork["name"])[0] == 0
    assert run(control, "seed", str(tmp_path / "none.json"))[0] == 1


@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        (("POST", "/v1/snapshots", {}), 400, "a snapshot has a name"),
        (("POST", "/v1/snapshots", {"name": ""}), 400, "not empty"),
        (("POST", "/v1/seed", {"topics": {"a": -1}}), 400, "has -1 partitions"),
        (("POST", "/v1/restore", {"directory": "/none"}), 400, "no meta.properties"),
        (("GET", "/v1/topics/none/records?last=x", None), 400, "last is a number"),
        (("GET", "/v1/topics/none/export", None), 404, "UNKNOWN_TOPIC_OR_PARTITION"),
        (("POST", "/v1/reset", {"now": True}), 400, "there is no 'now'"),
    ],
)
def test_invalid_requests_are_one_sentence(control, asked, status, sentence):
    answered, answer = control.ask(*asked)
    assert answered == status
    assert sentence in answer["error"]


def test_a_recording_is_made_and_ended(control, tmp_path):
    file = str(tmp_path / "recording.jsonl")
    assert run(control, "record", "start", file)[0] == 0
    control.heartbeat()
    assert run(control, "record", "show")[1]["requests"] == 1
    status, ended = control.ask("DELETE", "/v1/recording")
    assert (status, ended["file"], ended["requests"], ended["full"]) == (200, file, 1, False)
    assert run(control, "record", "stop")[0] == 1
    assert control.ask("POST", "/v1/recording", {"file": file})[0] == 400
