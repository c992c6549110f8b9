"""The loads of `python -m bench scale`: a paced one, one that waits for acknowledgements, and those of the table."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

from bench.raw import RawClient
from bench.run import Numbers
from interop.jars import ROOT


def load(name: str, **values: Any) -> Numbers:
    """Run a load of ``bench.loads`` in a process of its own."""
    command = [sys.executable, "-m", "bench.loads", name, json.dumps(values)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert finished.returncode == 0, finished.stderr[-2000:]
    numbers: Numbers = json.loads(finished.stdout.splitlines()[-1])
    return numbers


def pipelined(targets: Mapping[str, str], seconds: int) -> list[float]:
    """Run ``produce_pipelined`` for each address and topic at once, each in a process; requests/s of each."""
    command = [sys.executable, "-m", "bench.scale_loads", "pipelined"]
    processes = [
        subprocess.Popen([*command, address, topic, str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for address, topic in targets.items()
    ]
    return [float(process.communicate(timeout=seconds + 60)[0]) for process in processes]


class PacedLoad:
    """Prepared produce requests to partition 0 at a steady rate, acks=all, in a process of its own."""

    def __init__(self, bootstrap: str, topic: str, mb_per_s: int) -> None:
        self._command = [sys.executable, "-m", "bench.scale_loads", "paced", bootstrap, topic, str(mb_per_s)]
        self._process: subprocess.Popen[str] | None = None
        self.mb_per_s = 0.0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.mb_per_s = float(line)


def produce_paced(bootstrap: str, topic: str, mb_per_s: int) -> None:
    """Send 50 requests a second until ended; prints the rate so far once a second."""
    client = RawClient(bootstrap)
    records = mb_per_s * 20
    frame = client.produce_frame(topic, 1000, records=records)
    started = time.perf_counter()
    sent = answered = 0
    while True:
        due = int((time.perf_counter() - started) * 50)
        while sent < due and sent - answered < 8:
            client.socket.sendall(frame)
            sent += 1
        if sent > answered:
            client.read_replies(1)
            answered += 1
        else:
            time.sleep(0.002)  # until the next request is due
        if answered and answered % 50 == 0:
            print(answered * records * 1000 / 1e6 / (time.perf_counter() - started), flush=True)


def produce_pipelined(bootstrap: str, topic: str, seconds: int) -> None:
    """Send a small prepared produce request, up to 64 in flight, for so long; prints answered requests per second."""
    client = RawClient(bootstrap)
    burst = client.produce_frame(topic, 100) * 32
    client.socket.sendall(burst)
    started = time.perf_counter()
    answered = 0
    while (now := time.perf_counter()) < started + seconds:
        client.socket.sendall(burst)
        client.read_replies(32)
        answered += 32
    print(answered / (now - started), flush=True)


class Acknowledgements:
    """librdkafka with default settings writes a record every 5 ms; when each was sent and acknowledged."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        from confluent_kafka import Producer

        self._topic = topic
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._times: list[tuple[float, float]] = []  # sent, acknowledged
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def first_sent_after(self, moment: float, timeout_s: float = 60) -> float:
        """When the first record that was sent after a moment was acknowledged; both as of ``perf_counter``."""
        deadline = time.perf_counter() + timeout_s
        with self._changed:
            while True:
                found = [acknowledged for sent, acknowledged in self._times if sent > moment]
                if found:
                    return min(found)
                left = deadline - time.perf_counter()
                assert left > 0, f"no acknowledgement in {timeout_s} s"
                self._changed.wait(left)

    def _write(self) -> None:
        while not self._stopping.wait(0.005):
            self._producer.produce(self._topic, b"x" * 100, on_delivery=self._delivered(time.perf_counter()))
            self._producer.poll(0)
        self._producer.flush(60)

    def _delivered(self, sent: float) -> Any:
        def delivered(error: object, _message: object) -> None:
            if error is None:
                with self._changed:
                    self._times.append((sent, time.perf_counter()))
                    self._changed.notify_all()

        return delivered


if __name__ == "__main__":
    loads = {"paced": produce_paced, "pipelined": produce_pipelined}
    loads[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
