"""The Python clients, each scenario in its own process, so that a crash of a C library fails one case only."""

import os
import sys

from interop.case import Run, case
from interop.jars import ROOT

PROGRAMS = {
    "kafka-python": (
        "kafka_python.py",
        """round-trip codecs acks shapes megabyte idempotent group cooperative static commit-and-seek seek-by-time pause
        admin transactions""",
    ),
    "confluent-kafka": (
        "confluent.py",
        """round-trip auto-create codecs acks shapes megabyte idempotent group roundrobin cooperative new-group-protocol
        share-group static commit-and-seek seek-by-time pause admin transactions""",
    ),
    "aiokafka": (
        "aiokafka_client.py",
        "round-trip codecs acks shapes megabyte idempotent group static seek-by-time pause admin transactions",
    ),
}
REQUIRES = {
    "transactions": ("EndTxn",),
    "exactly-once": ("EndTxn",),
    "admin-transactions-and-quotas": ("ListTransactions", "DescribeClientQuotas"),
    "new-group-protocol": ("ConsumerGroupHeartbeat",),
    "share-group": ("ShareFetch",),
}
SMOKE = ("round-trip", "group", "admin")


def register(client: str, program: str, scenario: str) -> None:
    @case("clients", client, scenario, smoke=scenario in SMOKE, requires=REQUIRES.get(scenario, ()))
    def body(run: Run) -> None:
        command = [sys.executable, "-W", "ignore", str(ROOT / "interop" / "clients" / program)]
        run.program([*command, run.bootstrap, scenario, run.unique(scenario)], env=dict(os.environ)).ok().prints("ok")


for _client, (_program, _scenarios) in PROGRAMS.items():
    for _scenario in _scenarios.split():
        register(_client, _program, _scenario)
