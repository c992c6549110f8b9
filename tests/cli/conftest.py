"""A real broker on a real port, for the commands that people and programs run."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from script_runs import Ended

from kwire.cli.script_twins import run

# A broker that runs already, of any kind, such as Apache Kafka: HOST:PORT.
GIVEN = "KWIRE_TEST_BOOTSTRAP"


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory):
    """HOST:PORT of a broker that the tests of a session share; each uses names of its own."""
    if os.environ.get(GIVEN):
        yield os.environ[GIVEN]
        return
    data = tmp_path_factory.mktemp("broker")
    with (data / "log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kwire",
                "serve",
                "--listen",
                "PLAINTEXT://localhost:0",
                "--data",
                str(data / "data"),
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        ready = process.stdout.readline().split()
        assert ready[:1] == ["ready"], (data / "log").read_text()
        yield ready[1].removeprefix("PLAINTEXT://")
        process.send_signal(signal.SIGTERM)
        assert process.wait(150) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.fixture
def script(bootstrap, capsys, monkeypatch, tmp_path):
    """Runs a script in this process, with the broker's address on its line unless ``alone``."""

    def ended(name, *argv, stdin=None, alone=False):
        server = [] if alone else ["--bootstrap-server", bootstrap]
        if stdin is not None:
            (tmp_path / "stdin").write_text(stdin, newline="")
        capsys.readouterr()
        with Path(os.devnull if stdin is None else tmp_path / "stdin").open() as given:
            monkeypatch.setattr(sys, "stdin", given)
            try:
                code = run(name, [*server, *argv])
            except SystemExit as leaving:
                code = leaving.code
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return ended


@pytest.fixture
def topic(request, script):
    """A topic of the test's own, of one partition."""
    name = re.sub(r"[\W_]+", "-", f"{request.node.name[:100]}-{os.getpid()}")
    assert script("kafka-topics", "--create", "--topic", name, "--partitions", "1").code == 0
    return name


@pytest.fixture
def produce(script):
    def sent(topic, text, *argv):
        ended = script("kafka-console-producer", "--topic", topic, *argv, stdin=text)
        assert ended == (0, "", "")

    return sent
