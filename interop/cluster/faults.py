"""What goes wrong in a run: a seeded schedule of kills, stops, pauses and cuts.

Responsible for: which fault comes when, and carrying it out on a rig. Must not depend on: clients, what is checked.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from interop.cluster.proxy import Mode
from interop.cluster.rig import Rig

KINDS: Final = ("kill", "stop", "pause", "cut", "hold", "isolate")


@dataclass(frozen=True, slots=True)
class Fault:
    """``kill``, ``stop`` (SIGTERM) and ``pause`` (SIGSTOP) end after ``seconds`` by a start or a continuation.

    ``cut`` and ``hold`` are between two nodes; ``isolate`` cuts a broker from all other nodes, not from clients.
    """

    kind: str
    node: int
    other: int
    seconds: float

    def __str__(self) -> str:
        between = f" and {self.other}" if self.kind in ("cut", "hold") else ""
        return f"{self.kind} {self.node}{between} for {self.seconds:.1f} s"


def schedule(
    seed: int, count: int, *, brokers: Sequence[int], controllers: Sequence[int], kinds: Sequence[str]
) -> list[Fault]:
    """``count`` faults; the same for the same arguments."""
    dice = random.Random(seed)
    faults = []
    for _ in range(count):
        kind, node = dice.choice(list(kinds)), dice.choice(list(brokers))
        others = [each for each in (*brokers, *controllers) if each != node]
        # Some last longer than a broker's session, some do not.
        faults.append(Fault(kind, node, dice.choice(others or [node]), dice.choice((0.5, 1.5, 4.5, 7.0))))
    return faults


def carry_out(rig: Rig, fault: Fault) -> None:
    """Begin the fault, wait, and end it. Raises AssertionError if a process ends by itself."""
    node = rig.broker(fault.node)
    match fault.kind:
        case "kill":
            node.kill()
        case "stop":
            node.stop()
        case "pause":
            node.pause()
        case "cut":
            rig.network.set(fault.node, fault.other, Mode.CUT)
        case "hold":
            rig.network.set(fault.node, fault.other, Mode.HOLD)
        case "isolate":
            for other in rig.nodes:
                if other.id != fault.node:
                    rig.network.set(fault.node, other.id, Mode.CUT)
        case _:
            raise AssertionError(fault.kind)
    time.sleep(fault.seconds)  # the fault lasts so long
    match fault.kind:
        case "kill" | "stop":
            node.start()
            node.wait()
        case "pause":
            node.resume()
        case _:
            rig.network.heal()
    rig.assert_alive()
