"""A sample of the sweep over damaged bytes (tests/api/byte_flips.py): metadata and the small files, every few bytes."""

import pytest
from byte_flips import ALLOWED, describe, sweep

FILES = [
    "__cluster_metadata-0/",
    "meta.properties",
    "-checkpoint",
    "bootstrap.checkpoint",
    ".kafka_cleanshutdown",
    "partition.metadata",
    ".index",
    ".timeindex",
    ".snapshot",
]


@pytest.mark.parametrize("part", FILES)
def test_a_damaged_byte_is_refused_reported_or_harmless(part):
    kinds = set()
    for how, path, position, kind, (expected, seen, logged) in sweep(every=41, only=part, first=7):
        assert kind in ALLOWED, f"{kind}: {how} {path} at {position}: {describe(expected, seen, logged)}"
        kinds.add(kind)
    assert kinds


def test_a_damaged_record_of_metadata_is_refused():
    path = "__cluster_metadata-0/00000000000000000000.log"
    stops = {(how, kind) for how, _, position, kind, _ in sweep(every=61, only=path) if position > 16}
    assert stops == {("clean", "refused"), ("killed", "refused")}
