"""A real broker on a real port, for the commands that people and programs run."""

import os
import signal
import subprocess
import sys

import pytest

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
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
