"""Fault rules of a broker in a test, and their counts.

Responsible for: arming rules on a ``KafkaBroker`` from the test's thread. Must not depend on: a test framework.

    with kafka.faults.add(api="Produce", topic="orders", error="NOT_LEADER_OR_FOLLOWER", times=2) as fault:
        send_an_order(kafka.bootstrap_servers)
    assert fault.fired == 2

A block fails with ``FaultNeverFired`` if its rule disturbed nothing, so that no test passes because the fault did not
happen.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, Unpack

import trio

from kwire.faults.injector import AnyArmed, Injector
from kwire.faults.rules import RuleFields, read_rule


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
            raise FaultNeverFired(f"{self._counts()} after {timeout:g} s; {times} were waited for")

    def release(self) -> None:
        """Release the requests that the rule holds; it holds no more."""
        self._faults.run_sync(self._armed.release)

    def remove(self) -> None:
        """Disarm the rule; requests that it holds continue. Does nothing when it is no longer armed."""
        self._faults.discard(self._armed)

    def check(self) -> None:
        """Raise FaultNeverFired if the rule has disturbed nothing so far."""
        if self._armed.fired == 0:
            raise FaultNeverFired(self._counts())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.remove()
        if kind is None:
            self.check()

    def _counts(self) -> str:
        return f"fault {self.name!r} matched {self.matched} requests and disturbed {self.fired}"


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
