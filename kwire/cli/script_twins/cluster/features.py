"""kafka-features: show, upgrade and downgrade the feature levels of a cluster.

Responsible for: the sub-commands of the official script, the feature levels of a release. Must not depend on: the
wire.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from kwire.cli.admin import cluster as admin
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.arguments import Arguments, add_servers
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text
from kwire.cli.script_twins.common import cluster_at, read_config
from kwire.errors import KafkaError
from kwire.kafka_release import FEATURES, METADATA_VERSIONS
from kwire.metadata.features import KNOWN, METADATA_VERSION

NAME: Final = "kafka-features"


class _Verb(NamedTuple):
    """The verbs for an action in messages."""

    done: str
    possible: str
    failed: str


_VERBS: Final = {
    "upgrade": _Verb("upgraded", "can be upgraded", "upgrade"),
    "downgrade": _Verb("downgraded", "can be downgraded", "downgrade"),
    "disable": _Verb("disabled", "can be disabled", "disable"),
}


def main(argv: Sequence[str]) -> int:
    given = _parser().read(argv)
    if given.command == "version-mapping":
        return _version_mapping(given)
    if given.command == "feature-dependencies":
        return _dependencies(given)
    servers = given.bootstrap_server or given.bootstrap_controller
    if servers is None:
        raise Failure(
            "Command line error: You must specify either --bootstrap-controller or --bootstrap-server.."
            " Type --help for help."
        )
    config = read_config(given.command_config) if given.command_config else {}
    levels = {} if given.command == "describe" else _levels(given)
    with cluster_at(servers, config, NAME) as cluster:
        try:
            if given.command == "describe":
                _describe(cluster, given.node_id)
                return 0
            return _update(cluster, given, levels)
        except KafkaError as error:
            raise Failure(error_text(error)) from error
        except ClientError as error:
            raise Failure(str(error)) from error


def _parser() -> Arguments:
    parser = Arguments(prog=NAME, description="Show and change the levels of features.", terse=True)
    add_servers(parser, required=False)
    describe = parser.add_command("describe", "Show every feature and its level.")
    describe.add_argument("--node-id", type=int, metavar="ID", help="ask this node")
    for name, text in (("upgrade", "Raise levels."), ("downgrade", "Lower levels."), ("disable", "Set levels to 0.")):
        command = parser.add_command(name, text)
        if name != "disable":
            command.add_argument("--metadata", metavar="LEVEL", help="old: the level of metadata.version, as 4.4-IV0")
            command.add_argument("--release-version", metavar="RELEASE", help="set all features to a release's levels")
        command.add_argument(
            "--feature",
            action="append",
            default=[],
            metavar="FEATURE" if name == "disable" else "FEATURE=LEVEL",
            help="a feature; may be repeated",
        )
        if name != "upgrade":
            command.add_argument("--unsafe", action="store_true", help="also if metadata may be lost")
        command.add_argument("--dry-run", action="store_true", help="print what would happen; change nothing")
    add_offline_commands(parser)
    return parser


def add_offline_commands(parser: Arguments) -> None:
    """Add version-mapping and feature-dependencies, which kafka-storage has as well."""
    mapping = parser.add_command("version-mapping", "Show the feature levels of a release.")
    mapping.add_argument("--release-version", metavar="RELEASE", help="4.4 or 4.4-IV0; the newest when left out")
    needs = parser.add_command("feature-dependencies", "Show what a feature level needs.")
    needs.add_argument("--feature", action="append", default=[], metavar="FEATURE=LEVEL", help="may be repeated")


def _describe(cluster: Cluster, node_id: int | None) -> None:
    found = admin.features(cluster, node_id)
    finalized = {feature.name: feature.max_version_level for feature in found.finalized_features}
    epoch = found.finalized_features_epoch
    for feature in sorted(found.supported_features, key=lambda each: each.name):
        print(
            f"Feature: {feature.name:<42}"
            f"SupportedMinVersion: {_level_name(feature.name, feature.min_version):<17}"
            f"SupportedMaxVersion: {_level_name(feature.name, feature.max_version):<17}"
            f"FinalizedVersionLevel: {_level_name(feature.name, finalized.get(feature.name, 0)):<17}"
            f"Epoch: {epoch if epoch >= 0 else '-'}"
        )


def _level_name(feature: str, level: int) -> str:
    if feature == METADATA_VERSION and level in METADATA_VERSIONS:
        return METADATA_VERSIONS[level][0]
    return str(level)


def _update(cluster: Cluster, given: argparse.Namespace, levels: Mapping[str, int]) -> int:
    verb = _VERBS[given.command]
    kind = admin.UPGRADE
    if given.command != "upgrade":
        kind = admin.UNSAFE_DOWNGRADE if given.unsafe else admin.SAFE_DOWNGRADE
    try:
        admin.update_features(cluster, levels, upgrade_type=kind, dry_run=given.dry_run)
    except KafkaError as error:
        can_not = "Can not" if given.dry_run else "Could not"
        for name, level in sorted(levels.items()):
            to = "" if given.command == "disable" else f" to {level}"
            print(f"{can_not} {verb.failed} {name}{to}. {error_text(error)}")
        raise Failure(f"{len(levels)} out of {len(levels)} operation(s) failed.") from error
    for name, level in sorted(levels.items()):
        to = "" if given.command == "disable" else f" to {level}"
        print(f"{name} {verb.possible if given.dry_run else f'was {verb.done}'}{to}.")
    return 0


def _levels(given: argparse.Namespace) -> dict[str, int]:
    """The levels that a line requests. Raises Failure."""
    if given.command == "disable":
        levels = dict.fromkeys(given.feature, 0)
    else:
        levels = dict(map(parse_level, given.feature))
        if given.metadata is not None:
            print(" `metadata` flag is deprecated and may be removed in a future release.")
            levels[METADATA_VERSION] = release_level(given.metadata)
        if given.release_version is not None:
            if levels:
                raise Failure("Can not specify --release-version with other feature flags.")
            levels = release_levels(release_level(given.release_version))
    if not levels:
        raise Failure(f"You must specify at least one feature to {given.command}")
    return levels


def parse_level(text: str) -> tuple[str, int]:
    """Read feature=level. Raises Failure."""
    name, found, level = text.partition("=")
    if not found:
        raise Failure(f"Can't parse feature=level string {text}: equals sign not found.")
    try:
        return name.strip(), int(level)
    except ValueError:
        raise Failure(f"Can't parse feature=level string {text}: unable to parse {level} as a short.") from None


def release_level(text: str) -> int:
    """Find the level of metadata.version behind 4.4-IV0, or behind 4.4, which is the last of that release."""
    found = [level for level, (name, _) in METADATA_VERSIONS.items() if text in (name, name.split("-")[0])]
    if not found:
        known = ", ".join(name for name, _ in METADATA_VERSIONS.values())
        raise Failure(f"Unknown metadata.version '{text}'. Supported metadata.version are: {known}")
    return max(found)


def release_levels(metadata_level: int) -> dict[str, int]:
    """Every feature's level in a new cluster at a level of metadata.version, that one first."""
    return {METADATA_VERSION: metadata_level} | {
        feature: max([each.level for each in levels if metadata_level >= each.since], default=0)
        for feature, levels in FEATURES.items()
    }


def _version_mapping(given: argparse.Namespace) -> int:
    newest = METADATA_VERSIONS[max(METADATA_VERSIONS)][0]
    text = given.release_version or newest
    level = release_level(text)
    for feature, value in release_levels(level).items():
        print(f"{feature}={value} ({text})" if feature == METADATA_VERSION else f"{feature}={value}")
    return 0


def _dependencies(given: argparse.Namespace) -> int:
    for text in given.feature:
        feature, level = parse_level(text)
        if feature not in KNOWN:
            raise Failure(f"Unknown feature: {feature}")
        if feature == METADATA_VERSION and level not in METADATA_VERSIONS:
            raise Failure(f"Unknown metadata.version {level}")
        if not KNOWN[feature].lowest <= level <= KNOWN[feature].highest:
            raise Failure(f"No feature:{feature} with feature level {level}")
        shown = f"{feature}={level}"
        if feature == METADATA_VERSION:
            shown += f" ({METADATA_VERSIONS[level][0]})"
        needs = next((each.needs for each in FEATURES.get(feature, ()) if each.level == level), {})
        if not needs:
            print(f"{shown} has no dependencies.")
            continue
        print(f"{shown} requires:")
        for needed, at in needs.items():
            name = f" ({METADATA_VERSIONS[at][0]})" if needed == METADATA_VERSION else ""
            print(f"    {needed}={at}{name}")
    return 0


OFFLINE: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "version-mapping": _version_mapping,
    "feature-dependencies": _dependencies,
}
