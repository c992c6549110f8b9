"""A start with one broker config given: it works, or it is refused in a sentence; never an unexpected exception."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import trio
import trio.testing

from kwire.broker.start import open_broker
from kwire.cli.settings.settings import SettingsError, gather
from kwire.errors import StorageFailure
from kwire.metadata.configs.definitions import ConfigProblem, broker_keys
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.start_rules import check_start
from kwire.server.bindings import read_bindings, read_limits, read_socket_options
from kwire.testing.memory.files import MemoryFiles

VECTORS = Path(__file__).parents[1] / "metadata" / "config_vectors.json.gz"
# Texts of Apache's own tests and documentation, for configs whose accepted values the vectors do not hold.
MORE_TEXTS = {
    "listeners": ["PLAINTEXT://:9092,CONTROLLER://:9093"],
    "advertised.listeners": ["PLAINTEXT://broker:9092"],
    "log.dir": ["data", "data,more"],
    "log.dirs": ["data,more"],
    "metadata.log.dir": ["elsewhere"],
    "controller.quorum.voters": ["1@localhost:9093"],
    "controller.quorum.bootstrap.servers": ["localhost:9093"],
}


def accepted_texts() -> dict[str, list[str]]:
    """For each broker config its default, and a few more texts that the official classes accept."""
    texts = {name: [] if key.default_text is None else [key.default_text] for name, key in broker_keys().items()}
    with gzip.open(VECTORS, "rt", encoding="utf-8") as lines:
        for scope, name, answers in map(json.loads, lines):
            if scope == "broker":
                good = [text for text, _, message in answers if message is None]
                texts[name] += [good[0], good[len(good) // 2], good[-1]] if good else []
    for name, more in MORE_TEXTS.items():
        texts[name] += more
    return {name: list(dict.fromkeys(found)) or ["text"] for name, found in texts.items()}


TEXTS = accepted_texts()


@pytest.mark.parametrize("name", TEXTS)
async def test_a_start_with_the_config_given_works_or_is_refused_in_a_sentence(name):
    for text in TEXTS[name]:
        with trio.fail_after(150):
            assert await start_with(name, text)


async def start_with(name: str, text: str) -> str:
    """Start and stop a broker, or return the sentence that refuses."""
    try:
        settings = gather(sets=[f"{name}={text}"]).broker_settings
        configs = EffectiveConfigs(MetadataImage(), settings, node_id=-1)
        check_start(configs)
        bindings = read_bindings(configs)
        read_limits(configs, [binding.name for binding in bindings])
        read_socket_options(configs)
        endpoints = [binding.endpoint for binding in bindings]
        async with open_broker(settings, MemoryFiles(), endpoints=endpoints) as broker:
            broker.configs.describe_broker()
            await trio.testing.wait_all_tasks_blocked()
            broker.clock.advance(86_400_000)  # a day: each background task does its work
            await trio.testing.wait_all_tasks_blocked()
    except (SettingsError, ConfigProblem, StorageFailure) as refused:
        return str(refused)
    return "started"


async def test_log_dir_alone_names_the_log_directories():
    settings = gather(sets=["log.dir=/one,/two"]).broker_settings
    files = MemoryFiles()
    async with open_broker(settings, files, endpoints=[]) as broker:
        assert [one.path for one in broker.dirs.dirs] == ["/one", "/two"]
