"""What is known of a process by its id, also on a system without the program ps, as small images are."""

import signal
import subprocess
import sys
import time

import pytest

from kwire.cli.script_twins.cluster import server_stop
from kwire.testing.clusters.processes import is_there, send, started_at, state_of, wait_gone

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc, and always have ps")


@pytest.fixture
def config(tmp_path):
    return tmp_path / "server.properties"


@pytest.fixture
def sleeper(config):
    command = [sys.executable, "-c", "print(flush=True); input()", str(config)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # before, it may have no command line yet
        yield process
        process.kill()


@linux
@pytest.mark.parametrize("knows_its_start", [True, False])
def test_the_state_of_a_process_is_known_without_ps(sleeper, config, monkeypatch, knows_its_start):
    monkeypatch.setenv("PATH", "")
    started = started_at(sleeper.pid) if knows_its_start else 0

    def becomes(state):
        deadline = time.monotonic() + 150
        while state_of(sleeper.pid, started, config) != state:
            assert time.monotonic() < deadline, state
            time.sleep(0.01)  # a poll, bounded above

    becomes("running")
    send(sleeper.pid, signal.SIGSTOP)
    becomes("paused")
    send(sleeper.pid, signal.SIGKILL)
    becomes("stopped")
    assert wait_gone(sleeper.pid, 150)


@linux
def test_another_process_with_the_number_is_not_the_node(sleeper, config, tmp_path):
    assert state_of(sleeper.pid, started_at(sleeper.pid) + 1, config) == "stopped"
    assert state_of(sleeper.pid, 0, tmp_path / "other.properties") == "stopped"
    assert is_there(sleeper.pid)


@linux
def test_kafka_server_stop_lists_processes_without_ps(sleeper, config, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert any(pid == sleeper.pid and str(config) in command for pid, command in server_stop._processes())
