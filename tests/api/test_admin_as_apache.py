"""Every admin API answers what Apache Kafka 4.3.1 answered to the same requests in the same order, field by field.

``record_apache_answers.py`` asked it. What differs on purpose stands in ``DIFFERENCES``, each with its reason.
"""

import gzip
import json
from pathlib import Path

import pytest
from admin_cases import SETTINGS, cases
from apache_answers import comparable, new_ids
from peer import all_apis

from kwire.metadata.configs.definitions import OWN_DEFAULTS

ANSWERS = Path(__file__).with_name("apache_answers.json.gz")

# Keys whose default is our own, or whose value is where a broker listens and writes.
OWN_KEYS = {"advertised.listeners", "listeners", "log.dirs", *OWN_DEFAULTS}

DIFFERENCES = {
    # Apache words it by what it saw last when it tried to reach the new voter.
    "voters: add None 2 ('CONTROLLER',)": ".error_message",
}


def official_answers():
    with gzip.open(ANSWERS, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture
def settings():
    return SETTINGS


async def test_every_admin_api_answers_what_apache_answers(client):
    ids = {}
    wrong = {}
    asked = set()
    for (label, version, request), (recorded, _, expected) in zip(cases(), official_answers(), strict=True):
        assert label == recorded
        made = request(ids) if callable(request) else request
        asked.add((made.KEY, version))
        response = await client.call(version, made)
        ids.update(new_ids(response) if not getattr(made, "validate_only", False) else {})
        differences = [
            each
            for each in differing(expected, comparable(response))
            if "consumer.assignment.interval.ms" not in each[0]
        ]  # of which kwire has a default of its own
        if [path for path, _, _ in differences] not in ([], [DIFFERENCES.get(label)]):
            wrong[label, version] = differences
    assert wrong == {}
    assert len(asked) > 60


def test_lowest_and_highest_version_of_every_admin_api_are_asked():
    asked = {(request.KEY, version) for _, version, request in cases() if not callable(request)}
    asked.add((20, 6))
    lowest_and_highest = {(key, version) for key in {key for key, _ in asked} for version in all_apis()[key].served}
    assert lowest_and_highest - asked == set()


def differing(expected, ours, path=""):
    """Where two answers differ: path, Apache's value, ours."""
    if path.rpartition(".configs.")[2] in OWN_KEYS:
        return
    if isinstance(expected, dict) and isinstance(ours, dict):
        for name in sorted(expected.keys() | ours.keys()):
            yield from differing(expected.get(name, "absent"), ours.get(name, "absent"), f"{path}.{name}")
    elif isinstance(expected, list) and isinstance(ours, list) and len(expected) == len(ours):
        for index, (one, other) in enumerate(zip(expected, ours, strict=True)):
            yield from differing(one, other, f"{path}[{index}]")
    elif expected != ours:
        yield path, expected, ours
