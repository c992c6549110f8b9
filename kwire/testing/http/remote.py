"""A client of the HTTP interface of a broker in another process, with most methods of ``KafkaBroker``.

Responsible for: turning calls into HTTP requests, and refusals into the errors that ``KafkaBroker`` raises. Must not
depend on: how the broker was started.

    kafka = RemoteKafka("http://127.0.0.1:9644")
    with kafka.faults.add(api="Produce", error="NOT_LEADER_OR_FOLLOWER", times=2):
        ...
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, Unpack

from kwire.control.conditions import ConditionError, ConditionKeys
from kwire.control.events import EventError
from kwire.control.requests.recording import RecordingError
from kwire.control.seeding.seed_error import SeedError
from kwire.control.seeding.seeds import load_document, read_seed
from kwire.control.state import StateError
from kwire.errors import Code, KafkaError
from kwire.faults.rules import RuleError, RuleFields
from kwire.testing.faults import not_fired
from kwire.testing.http.control_client import TIMED_OUT, ControlClient, ControlRefused
from kwire.testing.requests import RequestNeverSent, Wanted
from kwire.testing.waiting import never_happened


class RemoteFault:
    """One rule that is armed on the broker; see ``Fault``."""

    def __init__(self, client: ControlClient, shown: dict[str, Any]) -> None:
        self._client = client
        self._shown = shown

    @property
    def name(self) -> str:
        return str(self._shown["name"])

    @property
    def matched(self) -> int:
        """How many requests matched the rule, now or when it was removed."""
        return int(self._read()["matched"])

    @property
    def fired(self) -> int:
        """How many of them it disturbed, now or when it was removed."""
        return int(self._read()["fired"])

    def wait_fired(self, times: int = 1, timeout: float = 10.0) -> None:
        """Return once it has disturbed ``times`` requests. Raises FaultNeverFired after ``timeout`` seconds."""
        body = {"times": times, "timeout_ms": timeout * 1000}
        status, self._shown = self._client.call("POST", self._path + "/wait", body)
        if status == TIMED_OUT:
            raise not_fired(self._shown, times, timeout)

    def release(self) -> None:
        """Release the requests that the rule holds; it holds no more."""
        self._client.call("POST", self._path + "/release")

    def remove(self) -> None:
        """Disarm the rule; does nothing when it is no longer armed."""
        try:
            _, self._shown = self._client.call("DELETE", self._path)
        except ControlRefused as refusal:
            if refusal.status != 404:
                raise

    def check(self) -> None:
        """Raise FaultNeverFired if the rule has disturbed nothing so far."""
        if self._read()["fired"] == 0:
            raise not_fired(self._shown)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.remove()
        if kind is None:
            self.check()

    @property
    def _path(self) -> str:
        return _path("faults", self.name)

    def _read(self) -> dict[str, Any]:
        try:
            _, self._shown = self._client.call("GET", self._path)
        except ControlRefused as refusal:
            if refusal.status != 404:
                raise
        return self._shown

    def shown(self) -> dict[str, Any]:
        """Give name, counts and keys, now or when it was removed."""
        return self._read()


class RemoteFaults:
    """The rules of the broker; see ``Faults``."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def add(self, **rule: Unpack[RuleFields]) -> RemoteFault:
        """Arm a rule. Raises RuleError for an invalid rule."""
        try:
            return RemoteFault(self._client, self._client.call("POST", "/v1/faults", dict(rule))[1])
        except ControlRefused as refusal:
            if refusal.status == 400:
                raise RuleError(str(refusal)) from None
            raise

    def clear(self) -> None:
        """Disarm all rules."""
        self._client.call("DELETE", "/v1/faults")

    def check(self) -> None:
        """Raise FaultNeverFired if a rule that is armed has disturbed nothing so far."""
        for shown in self._client.call("GET", "/v1/faults")[1]:
            RemoteFault(self._client, shown).check()


class RemoteRequests:
    """The requests that clients sent; see ``Requests``."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def last(self, count: int = 100, **wanted: Unpack[Wanted]) -> list[dict[str, Any]]:
        """Give the last ``count`` matching requests, oldest first."""
        if "fields" in wanted:
            raise ValueError("fields belong to wait_for")
        query = urllib.parse.urlencode({**wanted, "last": count})
        return list(self._client.call("GET", f"/v1/requests?{query}")[1])

    def wait_for(self, times: int = 1, timeout: float = 10.0, **wanted: Unpack[Wanted]) -> None:
        """Return once ``times`` matching requests were received. Raises RequestNeverSent after ``timeout`` seconds."""
        status, seen = self._wait(times, timeout, wanted)
        if status == TIMED_OUT:
            raise RequestNeverSent(f"{times} x {wanted} was not received in {timeout:g} s, but {len(seen)}")

    def count(self, at_most: int, **wanted: Unpack[Wanted]) -> int:
        """Count the matching requests that were received, up to a number."""
        return len(self._wait(at_most, 0, wanted)[1])

    def _wait(self, times: int, timeout: float, wanted: Wanted) -> tuple[int, list[dict[str, Any]]]:
        body = {**wanted, "times": times, "timeout_ms": timeout * 1000}
        return self._client.call("POST", "/v1/requests/wait", body)

    def clear(self) -> None:
        """Clear the request log."""
        self._client.call("DELETE", "/v1/requests")


class RemoteKafka:
    """A broker that serves ``--control`` at ``url``. Methods are those of ``KafkaBroker``, with the same errors.

    Raises ControlRefused where the broker cannot be reached.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._client = ControlClient(url, token)
        self._token = token
        self.url = url
        self.faults = RemoteFaults(self._client)
        self.requests = RemoteRequests(self._client)

    @property
    def bootstrap_servers(self) -> str:
        """The value of a client's ``bootstrap.servers``."""
        listeners = self._client.call("GET", "/readyz")[1]["listeners"]
        return ",".join(each.rpartition("://")[2] for each in listeners)

    def reset(self) -> None:
        """See ``KafkaBroker.reset``."""
        self._state("POST", "/v1/reset")

    def snapshot(self, name: str = "default") -> None:
        """See ``KafkaBroker.snapshot``."""
        self._state("POST", "/v1/snapshots", {"name": name})

    def restore(self, name: str = "default") -> None:
        """See ``KafkaBroker.restore``."""
        self._state("POST", _path("snapshots", name, "restore"))

    def save(self, directory: str | os.PathLike[str]) -> None:
        """See ``KafkaBroker.save``; the directory is one of the broker's machine."""
        self._state("POST", "/v1/snapshots", {"directory": os.fspath(directory)})

    def load(self, directory: str | os.PathLike[str]) -> None:
        """See ``KafkaBroker.load``; the directory is one of the broker's machine. Raises StateError."""
        self._state("POST", "/v1/restore", {"directory": os.fspath(directory)})

    def fork(self) -> RemoteFork:
        """Start a second broker with the current state, in the process of this one; it ends with its block."""
        return RemoteFork(self, self._state("POST", "/v1/forks"), self._token)

    def record(self, file: str | os.PathLike[str]) -> None:
        """See ``KafkaBroker.record``; the file is one of the broker's machine."""
        self._recording("POST", {"file": os.fspath(file)})

    def stop_recording(self) -> None:
        """See ``KafkaBroker.stop_recording``."""
        self._recording("DELETE")

    def happen(self, event: str, **what: str | int) -> dict[str, Any]:
        """See ``KafkaBroker.happen``."""
        try:
            return dict(self._client.call("POST", "/v1/events", {**what, "event": event})[1])
        except ControlRefused as refusal:
            raise _as_kafka(refusal) or EventError(str(refusal)) from None

    def seed(self, document: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        """See ``KafkaBroker.seed``; files are read here."""
        given = dict(document) if isinstance(document, Mapping) else load_document(os.fspath(document))
        read_seed(given)
        try:
            self._client.call("POST", "/v1/seed", given)
        except ControlRefused as refusal:
            raise _as_kafka(refusal) or SeedError(str(refusal)) from None

    def export(self, topic: str) -> dict[str, Any]:
        """See ``KafkaBroker.export``."""
        return dict(self._kafka("GET", _path("topics", topic, "export")))

    def records(
        self, topic: str, *, partition: int | None = None, offset: int | None = None, last: int = 100
    ) -> list[dict[str, Any]]:
        """See ``KafkaBroker.records``."""
        given = {"partition": partition, "offset": offset, "last": last}
        query = urllib.parse.urlencode({key: value for key, value in given.items() if value is not None})
        return list(self._kafka("GET", _path("topics", topic, "records") + f"?{query}"))

    def groups(self) -> list[dict[str, Any]]:
        """See ``KafkaBroker.groups``."""
        return list(self._kafka("GET", "/v1/groups"))

    def group(self, group_id: str) -> dict[str, Any]:
        """See ``KafkaBroker.group``."""
        return dict(self._kafka("GET", _path("groups", group_id)))

    def transactions(self) -> list[dict[str, Any]]:
        """See ``KafkaBroker.transactions``."""
        return list(self._kafka("GET", "/v1/transactions"))

    def producers(self, topic: str) -> list[dict[str, Any]]:
        """See ``KafkaBroker.producers``."""
        return list(self._kafka("GET", _path("topics", topic, "producers")))

    def connections(self) -> list[dict[str, Any]]:
        """See ``KafkaBroker.connections``."""
        return list(self._kafka("GET", "/v1/connections"))

    def client_metrics(self) -> list[dict[str, Any]]:
        """See ``KafkaBroker.client_metrics``."""
        return list(self._kafka("GET", "/v1/client-metrics"))

    def locks(self, group_id: str) -> list[dict[str, Any]]:
        """See ``KafkaBroker.locks``."""
        return list(self._kafka("GET", _path("groups", group_id, "locks")))

    def wait_until(self, timeout: float = 10.0, **condition: Unpack[ConditionKeys]) -> None:
        """See ``KafkaBroker.wait_until``."""
        try:
            status, answer = self._client.call("POST", "/v1/wait", {**condition, "timeout_ms": timeout * 1000})
        except ControlRefused as refusal:
            raise _as_kafka(refusal) or ConditionError(str(refusal)) from None
        if status == TIMED_OUT:
            raise never_happened(answer["waited_for"], timeout, answer["seen"])

    def create_topic(self, name: str, partitions: int = 1, **config: str | float | bool) -> None:
        """See ``KafkaBroker.create_topic``."""
        texts = {
            key.replace("_", "."): str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in config.items()
        }
        self._kafka("POST", "/v1/topics", {"name": name, "partitions": partitions, "configs": texts})

    def topics(self) -> list[str]:
        """See ``KafkaBroker.topics``."""
        return list(self._client.call("GET", "/v1/topics")[1])

    def offsets(self, topic: str) -> list[tuple[int, int]]:
        """See ``KafkaBroker.offsets``."""
        return [(each["start"], each["end"]) for each in self._client.call("GET", "/v1/topics")[1].get(topic, [])]

    def advance(self, milliseconds: float) -> None:
        """See ``KafkaBroker.advance``."""
        self._client.call("POST", "/v1/clock", {"advance_ms": milliseconds})

    def _state(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            return self._client.call(method, path, body)[1]
        except ControlRefused as refusal:
            if refusal.status in {400, 404}:
                raise StateError(str(refusal)) from None
            raise

    def _recording(self, method: str, body: dict[str, Any] | None = None) -> None:
        try:
            self._client.call(method, "/v1/recording", body)
        except ControlRefused as refusal:
            if refusal.status in {400, 404}:
                raise RecordingError(str(refusal)) from None
            raise

    def _kafka(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            return self._client.call(method, path, body)[1]
        except ControlRefused as refusal:
            raise _as_kafka(refusal) or refusal from None


class RemoteFork(RemoteKafka):
    """A copy of a broker, which ends with the block or ``stop``."""

    def __init__(self, origin: RemoteKafka, shown: dict[str, Any], token: str | None) -> None:
        super().__init__(shown["control"], token)
        self._origin = origin
        self._name = shown["name"]

    def stop(self) -> None:
        """End the copy; does nothing when it has ended."""
        try:
            self._origin._state("DELETE", _path("forks", self._name))  # noqa: SLF001
        except StateError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.stop()


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(urllib.parse.quote(part, safe="") for part in parts)


def _as_kafka(refusal: ControlRefused) -> KafkaError | None:
    """A refusal by Kafka as the error that ``KafkaBroker`` raises."""
    code = str(refusal.answer.get("error"))
    if "message" not in refusal.answer or code not in Code.__members__:
        return None
    return KafkaError(Code[code], refusal.answer["message"])
