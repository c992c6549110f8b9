"""The parent's side of the process that decodes and encodes.

Responsible for: starting it at the first request, ending one that hangs, the answers in that case. Must not depend on:
records, the event loop: the calls block, so a server makes them in a thread.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import IO, Any, Final, NamedTuple

from kwire.schemas.address import RegistryAddress
from kwire.schemas.choice import SchemaChoice
from kwire.schemas.framing import SchemaId, find_schema
from kwire.schemas.problems import NotEncoded

CONTENT_BYTES_MAX: Final = 1 << 20
# The most that one call takes.
CALL_S: Final = 10.0
# The most characters of all texts of one call.
TEXTS_MAX: Final = 4 << 20
# The most for one key or value after the answer of the registry: a compiler of its schema has 2 s, decoding takes
# microseconds.
CONTENT_S: Final = 3.0
# A start takes half a second on an idle machine. It is not part of CALL_S.
_START_S: Final = 30.0
_ENDED_MAX: Final = 3
_TOO_LATE: Final = "not decoded, because other keys and values took too long: read again"
_REQUEST_CONTENTS_MAX: Final = 500
_REQUEST_BYTES_MAX: Final = 1 << 20


class Content(NamedTuple):
    """A key or value, and the header of its record that may name its schema."""

    content: bytes
    header: bytes | None = None


class SchemaProcess:
    """Decodes and encodes by the schemas of one registry. The process starts at the first call that needs it."""

    def __init__(self, address: RegistryAddress, command: Sequence[str] = ("-m", "kwire.schemas.worker")) -> None:
        self._address = address
        self._command = command
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._closed = False

    def decode(self, contents: Sequence[Content | None], *, containing: str | None = None) -> list[Any]:
        """Give a ``Decoded`` for each content, None for one that names no schema. Takes CALL_S at most.

        With ``containing`` it only finds: {"text": ""} for a content whose text contains this, None for all others.
        """
        until = time.monotonic() + CALL_S
        answers: list[Any] = [None] * len(contents)
        asked: list[tuple[int, SchemaId, Content]] = []
        for place, each in enumerate(contents):
            framed = None if each is None else find_schema(*each)
            if each is None or framed is None:
                continue
            if len(each.content) > CONTENT_BYTES_MAX:
                sentence = f"{len(each.content)} bytes are too many: at most {CONTENT_BYTES_MAX} are decoded"
                answers[place] = _problem(framed.schema, sentence)
            else:
                asked.append((place, framed.schema, each))
        with self._lock:
            self._decode(asked, containing, until, answers.__setitem__)
        if containing is None:
            return answers
        return [each if each is not None and "text" in each else None for each in answers]

    def _decode(
        self,
        asked: Sequence[tuple[int, SchemaId, Content]],
        containing: str | None,
        until: float,
        take: Callable[[int, Any], None],
    ) -> None:
        done = ended = 0
        text_left = TEXTS_MAX
        while done < len(asked):
            place, schema, _ = asked[done]
            if ended >= _ENDED_MAX or time.monotonic() >= until or self._closed:
                take(place, _problem(schema, _TOO_LATE))
                done += 1
                continue
            try:
                began = time.monotonic()
                worker = self._started()
                until += time.monotonic() - began
                request = _first(asked, done)
                worker.ask([each for _, _, each in request], containing, text_left)
                for place, _, _ in request:
                    answer = worker.read(min(self._address.answer_s + CONTENT_S, max(0.0, until - time.monotonic())))
                    take(place, answer)
                    text_left -= len((answer or {}).get("text", ""))
                    done += 1
            except _Ended as error:
                self._end()
                ended += 1
                sentence = str(error) if time.monotonic() < until else _TOO_LATE
                take(asked[done][0], _problem(asked[done][1], sentence))
                done += 1

    def find(self, choice: SchemaChoice) -> SchemaChoice:
        """Give a choice by the id of its schema. Raises NotEncoded."""
        with self._lock:
            return self._with_id(choice)

    def encode(self, choice: SchemaChoice, texts: Sequence[str]) -> list[bytes]:
        """Give a key or value for each text of JSON, by one schema of the registry. Raises NotEncoded for the first."""
        contents: list[bytes] = []
        with self._lock:
            found = self._with_id(choice)
            while len(contents) < len(texts):
                piece = _first_texts(texts, len(contents))
                request = {"texts": piece, "schema": found["id"], "message": found.get("message")}
                answers = self._asked(request, len(piece), len(contents))
                contents += [base64.b64decode(answer["content"]) for answer in answers]
        return contents

    def _with_id(self, choice: SchemaChoice) -> SchemaChoice:
        if "id" in choice:
            return choice
        found: SchemaChoice = {"id": self._asked({"find": choice}, 1, 0)[0]["id"]}
        if "message" in choice:
            found["message"] = choice["message"]
        return found

    def _asked(self, request: dict[str, Any], count: int, first: int) -> list[dict[str, Any]]:
        """Give the answers to a request; ``first`` is the place of the first of its texts. Raises NotEncoded."""
        place = None if "find" in request else first
        try:
            worker = self._started()
        except _Ended as error:
            raise NotEncoded(str(error)) from None
        answers: list[dict[str, Any]] = []
        try:
            worker.send(request)
            while len(answers) < count:
                answer = worker.read(self._address.answer_s + CONTENT_S)
                answers.append(answer)
        except _Ended:
            self._end()
            where = None if place is None else place + len(answers)
            raise NotEncoded("encoding it takes too much time or memory", where) from None
        for number, answer in enumerate(answers):
            if "error" in answer:
                raise NotEncoded(answer["error"], None if place is None else place + number)
        return answers

    def _started(self) -> _Worker:
        if self._worker is not None and self._worker.ended:
            self._end()
        if self._worker is None:
            self._worker = _Worker(self._address, self._command)
        if self._closed:
            raise _Ended(_TOO_LATE)
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def close(self) -> None:
        """End the process; a call that waits for it returns soon."""
        self._closed = True
        worker = self._worker
        if worker is not None:
            worker.end()


class _Ended(Exception):
    """The process hangs or has ended. One sentence."""


class _Worker:
    """One process."""

    def __init__(self, address: RegistryAddress, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (this interpreter)
            [sys.executable, "-P", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_read_lines, args=(self._process.stdout, self._lines), daemon=True).start()
        try:
            self.send(asdict(address))
            self.read(_START_S)
        except _Ended:
            self.end()
            raise _Ended("the process that decodes did not start") from None

    @property
    def ended(self) -> bool:
        """Whether it ended between two requests."""
        return self._process.poll() is not None

    def ask(self, contents: Sequence[Content], containing: str | None, text_max: int) -> None:
        """Ask for a ``Decoded`` of each content; ``read`` gives one after the other."""
        given = [[_text(each.content), _text(each.header)] for each in contents]
        self.send({"contents": given, "containing": containing, "text_max": text_max})

    def send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise _Ended("the process that decodes has ended") from None

    def read(self, timeout_s: float) -> Any:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise _Ended(f"these bytes were not decoded within {timeout_s:.0f} s") from None
        if not line.endswith(b"\n"):
            raise _Ended("these bytes ended the process that decodes: too much memory, or nested too deep")
        return json.loads(line)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it may not have read all of the last request
            self._process.stdin.close()


def _read_lines(output: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Put each line, and at the end one without a newline."""
    with output:
        for line in output:
            lines.put(line)
    lines.put(b"")


def _first(asked: Sequence[tuple[int, SchemaId, Content]], done: int) -> list[tuple[int, SchemaId, Content]]:
    """Give the contents of the next request."""
    chosen: list[tuple[int, SchemaId, Content]] = []
    size = 0
    for each in asked[done : done + _REQUEST_CONTENTS_MAX]:
        size += len(each[2].content)
        if chosen and size > _REQUEST_BYTES_MAX:
            break
        chosen.append(each)
    return chosen


def _first_texts(texts: Sequence[str], done: int) -> list[str]:
    """Give the texts of the next request. Raises NotEncoded for one that is too long."""
    chosen: list[str] = []
    size = 0
    for place in range(done, min(len(texts), done + _REQUEST_CONTENTS_MAX)):
        length = len(texts[place])
        if length > CONTENT_BYTES_MAX:
            raise NotEncoded(f"{length} characters are too many: at most {CONTENT_BYTES_MAX} are encoded", place)
        size += length
        if chosen and size > _REQUEST_BYTES_MAX:
            break
        chosen.append(texts[place])
    return chosen


def _problem(schema: SchemaId, sentence: str) -> dict[str, Any]:
    return {"schema": schema, "error": f"schema {schema}: {sentence}"}


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
