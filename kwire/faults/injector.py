"""Arms rules on a running broker.

Responsible for: which rules are armed, whether a request triggers one, its effect, and its counts. Must not depend on:
the form in which rules are given, sockets.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import trio

from kwire.broker.clients.hooks import CutOff, HookedRequest, HookedServer
from kwire.errors import Code
from kwire.faults import placement
from kwire.faults.disk import ArmedOnDisk, FaultyFiles
from kwire.faults.rewriting import rewrite
from kwire.faults.rules import (
    Close,
    CorruptRecords,
    Delay,
    DiskEffect,
    Drop,
    Error,
    Garbage,
    Hold,
    Rewrite,
    Rule,
    RuleError,
    Scope,
    Stale,
    Throttle,
    Trigger,
    Truncate,
)
from kwire.faults.subjects import Subject, subjects
from kwire.storage.files import Files
from kwire.wire.codec import Message, encode_request, response_class
from kwire.wire.messages import FetchRequest, FetchResponse

_FETCH: Final = 1
_NO_SESSION: Final = -1  # the epoch of a fetch without a session (KIP-227)
_HEADER_BYTES: Final = 8  # size and correlation id of a response
# In the header of a record batch: what precedes its length's bytes, the CRC, and what reaches to the end of the CRC.
_BATCH_OVERHEAD: Final = 12
_CRC_AT: Final = 17
_BATCH_HEAD: Final = 21


OnFired: TypeAlias = Callable[[str, HookedRequest], None]
# Answers that a rule with ``stale`` keeps.
_STALE_MAX: Final = 1000


class Armed:
    """One rule on one broker or proxy. ``matched`` and ``fired`` count requests.

    ``not_matched`` counts requests of its APIs to which it does not apply, such as those for another topic.
    """

    def __init__(self, rule: Rule, broker: HookedServer, on_fired: OnFired) -> None:
        self.rule = rule
        self.matched = 0
        self.fired = 0
        self.not_matched = 0
        self._broker = broker
        self._on_fired = on_fired
        self._random = random.Random(rule.trigger.seed)  # noqa: S311 - it repeats on purpose
        self._released = trio.Event()
        self._fired_once_more = trio.Event()
        self._disarm: list[Callable[[], None]] = []
        # Connection and correlation id of requests whose reply is changed: the content of a request is known at
        # dispatch, its reply in the reply hook.
        self._marked: set[tuple[int, int]] = set()
        # By API, version and request: the first answers, for ``Stale``.
        self._first_answers: dict[bytes, Message] = {}

    @property
    def is_released(self) -> bool:
        return self._released.is_set()

    def release(self) -> None:
        """Release the requests that it holds, and hold no more."""
        self._released.set()

    async def wait_fired(self, times: int) -> None:
        """Return once it has disturbed ``times`` requests since it was armed."""
        while self.fired < times:
            await self._fired_once_more.wait()

    def arm(self) -> None:
        """Register with the broker."""
        rule = self.rule
        hooks = self._broker.hooks
        if isinstance(rule.effect, (Truncate, Garbage)):
            self._disarm.append(hooks.around_reply(self._at_reply, api_keys=rule.scope.apis))
        self._disarm.append(hooks.around_dispatch(self._at_dispatch, api_keys=rule.scope.apis))

    def move_to(self, broker: HookedServer) -> None:
        """Register with another broker, which has replaced the one before; counts continue."""
        self._disarm.clear()
        self._marked.clear()
        self._broker = broker
        self.arm()

    def disarm(self) -> None:
        """Undo ``arm``, and release."""
        for each in self._disarm:
            each()
        self._disarm.clear()
        self.release()

    async def _at_dispatch(  # noqa: PLR0911 (guards)
        self, context: HookedRequest, request: Any, proceed: Callable[[], Awaitable[Any]]
    ) -> Any:
        scope = self.rule.scope
        if not _is_from(scope, context):
            self.not_matched += 1
            return await proceed()
        if context.api_key == _FETCH and scope.names_items:
            ended = _without_session(request)
            if ended is not None:
                return ended
        if scope.names_items and not any(each.matches(scope) for each in subjects(request, self._broker.topic_name)):
            if isinstance(self.rule.effect, (Error, Rewrite)) and placement.only_reads(context.api_key):
                return self._spoil_answer(self.rule.effect, context, await proceed())
            self.not_matched += 1
            return await proceed()
        if isinstance(self.rule.effect, Stale):
            return await self._answer_stale(context, request, proceed)
        if not self._triggers(context):
            return await proceed()
        return await self._disturb(context, request, proceed)

    def _triggers(self, context: HookedRequest) -> bool:
        """Count a request that the rule applies to, and tell whether it is disturbed."""
        self.matched += 1
        if not self._is_due(self.rule.trigger):
            return False
        self.fired += 1
        self._on_fired(self.rule.name, context)
        self._fired_once_more.set()
        self._fired_once_more = trio.Event()
        return True

    def _is_due(self, trigger: Trigger) -> bool:
        if self.matched <= trigger.skip or (trigger.times is not None and self.fired >= trigger.times):
            return False
        now_ms = self._broker.clock.now_ms()
        if trigger.from_ms is not None and now_ms < trigger.from_ms:
            return False
        if trigger.until_ms is not None and now_ms >= trigger.until_ms:
            return False
        return trigger.probability >= 1.0 or self._random.random() < trigger.probability

    async def _disturb(self, context: HookedRequest, request: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
        effect = self.rule.effect
        match effect:
            case Error():
                return await self._answer_error(effect, context, request, proceed)
            case Delay() | Hold():
                return await _wait_around(proceed, lambda: self._wait(effect, context), done=effect.done)
            case Drop() | Close():
                if effect.done:
                    _discard(await proceed())
                if isinstance(effect, Close):
                    context.connection.drop(self._why, reset=effect.reset)
                else:
                    await context.wait(trio.Event(), 0)  # sends the replies to earlier requests
                raise CutOff
        response = await proceed()
        match effect:
            case Throttle(ms) if response is not None and "throttle_time_ms" in response.__slots__:
                response.throttle_time_ms = context.throttle_ms = max(ms, context.throttle_ms)
            case CorruptRecords():
                _corrupt(response)
            case Rewrite(values) if response is not None:
                rewrite(response, context.api_version, values, self._item_matches, self._broker.topic_name)
            case Truncate() | Garbage():
                self._marked.add((id(context.connection), context.correlation_id))
        return response

    @property
    def _why(self) -> str:
        return f"fault rule {self.rule.name}"

    async def _wait(self, effect: Delay | Hold, context: HookedRequest) -> None:
        if isinstance(effect, Delay):
            await context.wait(trio.Event(), effect.ms)
        else:
            await context.wait(self._released, float("inf"))

    async def _answer_error(
        self, error: Error, context: HookedRequest, request: Any, proceed: Callable[[], Awaitable[Any]]
    ) -> Any:
        key, version = context.api_key, context.api_version
        path = self._level(error, context)
        if path is None:
            return await proceed()
        if key == _FETCH:
            request.max_wait_ms = 0
        if error.done or (path and placement.only_reads(key)):
            response = await proceed()
            if response is not None:
                chosen = placement.elements(response, path, self._item_matches, self._broker.topic_name)
                placement.overwrite(chosen, version, error.code)
            return response
        if not path:
            return placement.whole_error(key, version, error.code)
        taken = placement.Taken(key, version, path)
        taken.take(request, self._item_matches, self._broker.topic_name)
        response = await proceed() if taken.rest else response_class(key)()
        if response is not None:
            taken.put(response, error.code)
        return response

    async def _answer_stale(self, context: HookedRequest, request: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
        """Return the first answer to an equal request; the request whose answer is kept is not disturbed."""
        asked = encode_request(context.api_key, context.api_version, 0, None, request)
        kept = self._first_answers.get(asked)
        if kept is not None and self._triggers(context):
            return kept
        response = await proceed()
        if kept is None and response is not None and len(self._first_answers) < _STALE_MAX:
            self._first_answers[asked] = response
        return response

    def _spoil_answer(self, effect: Error | Rewrite, context: HookedRequest, response: Any) -> Any:
        """Change items that only the answer names, as in Metadata of all topics."""
        if isinstance(effect, Rewrite):
            named = response is not None and any(
                each.matches(self.rule.scope) for each in subjects(response, self._broker.topic_name)
            )
            if not named:
                self.not_matched += 1
            elif self._triggers(context):
                rewrite(response, context.api_version, effect.values, self._item_matches, self._broker.topic_name)
            return response
        path = self._level(effect, context)
        if path and response is not None:
            chosen = placement.elements(response, path, self._item_matches, self._broker.topic_name)
            if not chosen:
                self.not_matched += 1
            elif self._triggers(context):
                placement.overwrite(chosen, context.api_version, effect.code)
        return response

    def _level(self, error: Error, context: HookedRequest) -> placement.Path | None:
        partition = self.rule.scope.partition is not None
        return placement.level_named(context.api_key, context.api_version, error.level, partition=partition)

    async def _at_reply(self, outgoing: Any, send: Callable[[], Awaitable[None]]) -> None:
        ticket = (id(outgoing.waits), outgoing.header.correlation_id)
        if ticket not in self._marked:
            await send()
            return
        self._marked.discard(ticket)
        content = b"".join(each if isinstance(each, (bytes, memoryview)) else each.pread() for each in outgoing.parts)
        _close_all(outgoing.parts)
        match self.rule.effect:
            case Truncate(byte_count):
                outgoing.parts = [content[:byte_count]]
                await send()
                outgoing.waits.drop(self._why)
            case _:
                outgoing.parts = [content[:_HEADER_BYTES] + b"\xff" * (len(content) - _HEADER_BYTES)]
                await send()

    def _item_matches(self, subject: Subject) -> bool:
        scope = self.rule.scope
        return not scope.names_items or subject.matches(scope)


AnyArmed: TypeAlias = Armed | ArmedOnDisk


class Injector:
    """The rules that are armed on a broker, by name, oldest first.

    ``check`` raises RuleError for a rule about requests that none can trigger: see ``reach``. ``on_fired`` is called
    with the name of a rule and the request that it disturbs. Rules about files need ``files`` that are ``FaultyFiles``;
    ``why_no_files`` is why there are none.
    """

    def __init__(
        self,
        broker: HookedServer,
        check: Callable[[Rule], None],
        on_fired: OnFired = lambda _name, _context: None,
        *,
        files: Files | None = None,
        why_no_files: str = "rules about files need a broker that was started with --control",
    ) -> None:
        self._broker = broker
        self._why_no_files = why_no_files
        self._on_fired = on_fired
        self._check = check
        self._files = files if isinstance(files, FaultyFiles) else None
        self._armed: dict[str, AnyArmed] = {}
        self._numbers = 0

    @property
    def armed(self) -> Mapping[str, AnyArmed]:
        return self._armed

    def add(self, rule: Rule) -> AnyArmed:
        """Arm a rule. Raises RuleError for a name that is taken, or a rule that no request can trigger."""
        name = rule.name
        if not name:
            self._numbers += 1
            name = f"fault-{self._numbers}"
        if name in self._armed:
            raise RuleError(f"a rule named {name!r} is armed")
        rule = replace(rule, name=name)
        if isinstance(rule.effect, DiskEffect):
            on_disk = self._armed[name] = self._add_on_disk(rule)
            return on_disk
        self._check(rule)
        armed = self._armed[name] = Armed(rule, self._broker, self._on_fired)
        armed.arm()
        return armed

    def _add_on_disk(self, rule: Rule) -> ArmedOnDisk:
        if self._files is None:
            raise RuleError(self._why_no_files)
        armed = ArmedOnDisk(rule, self._broker.clock)
        self._files.rules = (*self._files.rules, armed)
        return armed

    def remove(self, name: str) -> AnyArmed:
        """Disarm a rule and return it with its counts. Raises KeyError."""
        armed = self._armed.pop(name)
        if isinstance(armed, Armed):
            armed.disarm()
        elif self._files is not None:
            self._files.rules = tuple(each for each in self._files.rules if each is not armed)
            armed.release()
        return armed

    def move_to(self, broker: HookedServer) -> None:
        """Arm all rules on another broker, which has replaced the one before."""
        self._broker = broker
        for armed in self._armed.values():
            if isinstance(armed, Armed):
                armed.move_to(broker)
            else:
                armed.move_to(broker.clock)

    def clear(self) -> None:
        """Disarm all rules."""
        for name in list(self._armed):
            self.remove(name)


def _is_from(scope: Scope, context: HookedRequest) -> bool:
    """Tell whether the request has the version and comes from the client that the scope names."""
    client = context.client
    return (
        (scope.versions is None or scope.versions[0] <= context.api_version <= scope.versions[1])
        and (scope.client_id is None or scope.client_id == context.client_id)
        and (scope.principal is None or scope.principal == str(client.principal))
        and (scope.listener is None or scope.listener == client.endpoint.name)
    )


def _without_session(request: FetchRequest) -> FetchResponse | None:
    """Remove the session from a fetch: an incremental one is refused, a first one gets none."""
    if request.session_id != 0 and request.session_epoch > 0:
        return FetchResponse(error_code=Code.FETCH_SESSION_ID_NOT_FOUND)
    request.session_id, request.session_epoch = 0, _NO_SESSION
    return None


async def _wait_around(
    proceed: Callable[[], Awaitable[Any]], wait: Callable[[], Awaitable[object]], *, done: bool
) -> Any:
    if not done:
        await wait()
        return await proceed()
    response = await proceed()
    try:
        await wait()
    except BaseException:
        _discard(response)
        raise
    return response


def _discard(response: Message | None) -> None:
    """Close the slices of files in a response that is not sent."""
    for holder, name in _records(response):
        _close_all([getattr(holder, name)])


def _corrupt(response: Message | None) -> None:
    for holder, name in _records(response):
        records = getattr(holder, name)
        content = bytearray(records if isinstance(records, (bytes, memoryview)) else records.pread())
        _close_all([records])
        position = 0
        while position + _BATCH_HEAD <= len(content):
            content[position + _CRC_AT] ^= 1
            position += _BATCH_OVERHEAD + int.from_bytes(content[position + 8 : position + _BATCH_OVERHEAD], "big")
        setattr(holder, name, bytes(content))


def _records(message: Message | None) -> Iterator[tuple[Message, str]]:
    """Find the fields of a response that hold records."""
    if message is None:
        return
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if field.type == "records" and value is not None:
            yield message, field.name
        elif field.struct is not None and field.type == "array":
            for element in value or ():
                yield from _records(element)


def _close_all(parts: Sequence[Any]) -> None:
    for part in parts:
        if not isinstance(part, (bytes, memoryview)):
            part.close()
