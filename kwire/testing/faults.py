"""Fault rules of a broker in a test, and their counts.

Responsible for: arming rules on a ``KafkaBroker`` from the test's thread. Must not depend on: a test framework.

    with kafka.faults.add(api="Produce", topic="orders", error="NOT_LEADER_OR_FOLLOWER", times=2) as fault:
        send_an_order(kafka.bootstrap_servers)
    assert fault.fired == 2

A block fails with ``FaultNeverFired`` if its rule disturbed nothing, so that no test passes because the fault did not
happen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import trio

from kwire.faults.injector import AnyArmed, Injector
from kwire.faults.rules import DISK_EFFECTS, EFFECT_KEYS, SCOPE_KEYS, TRIGGER_KEYS, RuleFields, read_rule
from kwire.wire.codec import api_name


class FaultNeverFired(AssertionError):
    """An armed rule disturbed no request, or fewer than expected."""


class Fault:
    """One armed rule."""

    def __init__(self, faults: Faults, armed: AnyArmed) -> None:
        self._faults = faults
        self._armed = armed

    @property
    def name(self) -> str:
        """The name that the rule was given, else ``fault-1`` and so on."""
        return self._armed.rule.name

    @property
    def matched(self) -> int:
        """How many requests matched the rule."""
        return self._armed.matched

    @property
    def fired(self) -> int:
        """How many of them it disturbed."""
        return self._armed.fired

    def wait_fired(self, times: int = 1, timeout: float = 10.0) -> None:
        """Return once it has disturbed ``times`` requests. Raises FaultNeverFired after ``timeout`` seconds."""

        async def wait() -> bool:
            with trio.move_on_after(timeout) as scope:
                await self._armed.wait_fired(times)
            return not scope.cancelled_caught

        if not self._faults.run(wait):
            raise not_fired(self._shown(), times, timeout)

    def release(self) -> None:
        """Release the requests that the rule holds; it holds no more."""
        self._faults.run_sync(self._armed.release)

    def remove(self) -> None:
        """Disarm the rule; requests that it holds continue. Does nothing when it is no longer armed."""
        self._faults.discard(self._armed)

    def check(self) -> None:
        """Raise FaultNeverFired if the rule has disturbed nothing so far."""
        if self._armed.fired == 0:
            raise not_fired(self._shown())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.remove()
        if kind is None:
            self.check()

    def _shown(self) -> dict[str, Any]:
        armed = self._armed
        return {
            "name": armed.rule.name,
            "matched": armed.matched,
            "fired": armed.fired,
            "not_matched": armed.not_matched,
            "rule": armed.rule.given,
        }


class Faults:
    """The faults of one broker, ``kafka.faults``. They end when the broker stops."""

    def __init__(self, run: Callable[..., Any], run_sync: Callable[..., Any], injector: Callable[[], Injector]) -> None:
        self.run = run
        self.run_sync = run_sync
        self._injector = injector

    def add(self, **rule: Unpack[RuleFields]) -> Fault:
        """Arm a rule: keywords for which requests, when, and exactly one effect (docs/faults.md lists them).

        Raises RuleError, a ValueError, for an invalid rule.
        """
        read = read_rule(rule)
        return Fault(self, self.run_sync(lambda: self._injector().add(read)))

    def clear(self) -> None:
        """Disarm all rules."""
        self.run_sync(lambda: self._injector().clear())

    def check(self) -> None:
        """Raise FaultNeverFired if a rule that is armed has disturbed nothing so far."""
        for armed in self.run_sync(lambda: list(self._injector().armed.values())):
            Fault(self, armed).check()

    def lines(self) -> list[str]:
        """Return the armed rules as lines of text."""
        armed: list[AnyArmed] = self.run_sync(lambda: list(self._injector().armed.values()))
        return [
            f"{each.rule.name}: {dict(each.rule.given)}, matched {each.matched} requests, disturbed {each.fired}"
            for each in armed
        ]

    def discard(self, armed: AnyArmed) -> None:
        """Disarm a rule unless it was before."""

        def remove() -> None:
            injector = self._injector()
            if injector.armed.get(armed.rule.name) is armed:
                injector.remove(armed.rule.name)

        self.run_sync(remove)


def not_fired(shown: Mapping[str, Any], times: int = 1, timeout: float | None = None) -> FaultNeverFired:
    """Make the error of a rule from its name, counts and keys as ``GET /v1/faults/NAME`` shows them.

    The first line is short, for the summary of a test run; the second one is about the requests that were received.
    """
    rule = shown["rule"]
    (effect,) = (key for key in EFFECT_KEYS if rule.get(key) is not None and rule[key] is not False)
    what = effect if rule[effect] is True else f"{effect}={rule[effect]}"
    one = "file operation" if effect in DISK_EFFECTS else f"{_api_names(rule)}request"
    several = f"{one}s"
    how_many = f"no {one}" if shown["fired"] == 0 else f"{shown['fired']} of {times} {several}"
    within = "" if timeout is None else f" in {timeout:g} s"
    return FaultNeverFired(f"{shown['name']!r} disturbed {how_many}{within} ({what})\n{_seen(shown, one, several)}")


def _api_names(rule: Mapping[str, Any]) -> str:
    given = rule.get("api")
    if given is None:
        return ""
    names = [given] if isinstance(given, (str, int)) else list(given)
    return " or ".join(api_name(each) if isinstance(each, int) else each for each in names) + " "


def _seen(shown: Mapping[str, Any], one: str, several: str) -> str:
    rule, matched, others = shown["rule"], shown["matched"], shown.get("not_matched", 0)
    if matched:
        return f"matched while it was armed: {matched}{_conditions(rule, TRIGGER_KEYS)}"
    if not others:
        return f"no {one} was seen while it was armed"
    return f"{several} seen while it was armed: {others}, none of which matched{_conditions(rule, SCOPE_KEYS)}"


def _conditions(rule: Mapping[str, Any], keys: Sequence[str]) -> str:
    given = [f"{key}={rule[key]}" for key in keys if rule.get(key) is not None]
    return f" ({', '.join(given)})" if given else ""
