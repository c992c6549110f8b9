"""Rules for the settings of a broker that hold beyond one value: a start that breaks one is refused.

Responsible for: what Apache Kafka's KafkaConfig and its parts check when a broker starts, over the values in force.
Must not depend on: where a setting came from, files, sockets.
"""

from __future__ import annotations

from kwire.metadata.config_values import ConfigProblem, value_text
from kwire.metadata.effective import EffectiveConfigs


def check_start(configs: EffectiveConfigs) -> None:
    """Check all rules. Raises ConfigProblem, which names the config, its value and what would be right."""
    codecs = ("offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec")
    for name in codecs:
        if configs.broker_value(name) not in range(5):
            raise _problem(configs, name, "No codec has this number", "0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd")


def _problem(configs: EffectiveConfigs, name: str, message: str, expected: str) -> ConfigProblem:
    return ConfigProblem(name, value_text(configs.broker_value(name)), message, expected)
