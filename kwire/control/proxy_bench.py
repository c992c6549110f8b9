"""The test bench of a proxy: rules, the request log and recordings of the requests that pass.

Responsible for: connecting these with a proxy. Must not depend on: HTTP, a test framework.
"""

from __future__ import annotations

from typing import Any, NoReturn

from kwire.broker.clock import Clock
from kwire.broker.requests.table import Api, ApiTable
from kwire.control.recording import Recorder, RecordingError
from kwire.control.request_log import RequestLog
from kwire.faults.injector import Injector
from kwire.proxy.proxy import Proxy
from kwire.wire.codec import api_keys, api_name, request_class


class ProxyBench:
    """Each door (HTTP, ``kwire.testing``) has one of these and calls the same methods."""

    def __init__(self, proxy: Proxy, *, requests_kept: int = 1000) -> None:
        self.proxy = proxy
        self.log = RequestLog(proxy, requests_kept)
        self.injector = Injector(
            proxy, _decodable(), on_fired=self.log.note_fault, why_no_files="a proxy has no files to disturb"
        )
        self.recorder: Recorder | None = None
        proxy.notes_topic_names = True

    @property
    def clock(self) -> Clock:
        """The clock of rules; that of the brokers is their own."""
        return self.proxy.clock

    def record(self, path: str) -> Recorder:
        """Record what clients send to a new file. Raises RecordingError."""
        if self.recorder is not None:
            raise RecordingError(f"a recording is in progress already: {self.recorder.path}")
        recorder = Recorder(self.proxy, path)
        recorder.start()
        self.recorder = recorder
        return recorder

    def stop_recording(self) -> Recorder:
        """End the recording. Raises RecordingError if there is none."""
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            raise RecordingError("no recording is in progress")
        recorder.stop()
        return recorder

    def nodes(self) -> list[dict[str, Any]]:
        """Give the nodes of the cluster that are known, with the addresses at which clients reach them."""
        return [{"node": str(node), "listener": str(at)} for node, at in self.proxy.nodes.items()]

    def connections(self) -> list[dict[str, Any]]:
        """Give peer, node and number of requests of each client that is connected."""
        return [
            {"peer": each.client.peer, "node": each.client.endpoint.name, "requests": each.requests}
            for each in self.proxy.connections
        ]

    def close(self) -> None:
        """Disarm all rules and record no more."""
        if self.recorder is not None:
            self.stop_recording()
        self.log.stop()
        self.injector.clear()


def _decodable() -> ApiTable:
    """Make a table of every API that has a spec: those are what rules can be about."""
    return {key: Api(key, api_name(key), request_class(key).VERSIONS, _no_handler) for key in api_keys()}


def _no_handler() -> NoReturn:
    raise AssertionError("a proxy handles no requests")
