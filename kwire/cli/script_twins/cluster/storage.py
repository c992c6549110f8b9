"""kafka-storage: format data directories before the first start, and describe them.

Responsible for: the sub-commands of the official script and their output. Must not depend on: the format of a directory
(``kwire.broker.controller.metadata_format``).

A broker formats a new directory by itself; this is for quick starts that do it by hand, and for choosing the cluster
id.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from kwire.broker.controller.metadata_format import Identity, controller_endpoint, format_if_new
from kwire.cli.java.arguments import Arguments
from kwire.cli.java.exits import Failure
from kwire.cli.script_twins.cluster.features import (
    OFFLINE,
    add_offline_commands,
    parse_level,
    release_level,
    release_levels,
)
from kwire.cli.script_twins.cluster.scram_arguments import ScramArgumentError, scram_record
from kwire.cli.settings.settings import SettingsError, gather
from kwire.kafka_release import METADATA_VERSIONS
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.features import KNOWN, METADATA_VERSION, SERVED, bootstrap_levels
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.quorum_rules import is_broker_alone
from kwire.storage import checkpoints
from kwire.storage.os_files import OsFiles
from kwire.types import random_uuid, uuid_from_text, uuid_text
from kwire.wire.messages import UserScramCredentialRecord

NAME: Final = "kafka-storage"
_SCRAM_VERSION_MIN: Final = 11  # 3.5-IV2
# The official tool requires these in the properties file, and reports the first that is missing.
_REQUIRED: Final = ("process.roles", "node.id", "controller.listener.names")


def main(argv: Sequence[str]) -> int:
    given = _parser().read(argv)
    if given.command == "random-uuid":
        print(uuid_text(random_uuid(os.urandom)))
        return 0
    if given.command in OFFLINE:
        return OFFLINE[given.command](given)
    configs = _configs(given.config)
    if given.command == "info":
        return _info(configs)
    return _format(given, configs)


def _parser() -> Arguments:
    parser = Arguments(prog=NAME, description="Format data directories, or show what they hold.")
    info = parser.add_command("info", "Show what the log directories of this node hold.")
    layout = parser.add_command("format", "Give the log directories of this node an identity.")
    for command in (info, layout):
        command.add_argument("--config", "-c", required=True, metavar="FILE", help="the server.properties of the node")
    layout.add_argument("--cluster-id", "-t", required=True, metavar="ID", help="the cluster's id")
    layout.add_argument("--ignore-formatted", "-g", action="store_true", help="skip formatted directories")
    layout.add_argument("--release-version", "-r", metavar="RELEASE", help="feature levels of a release")
    layout.add_argument(
        "--feature", "-f", action="append", default=[], metavar="FEATURE=LEVEL", help="one feature's level"
    )
    layout.add_argument("--add-scram", "-S", action="append", default=[], metavar="CREDENTIAL",
                        help="a user: SCRAM-SHA-256=[name=alice,password=secret]")  # fmt: skip
    quorum = layout.add_mutually_exclusive_group()
    quorum.add_argument("--standalone", "-s", action="store_true", help="this node is the only voter (always so)")
    quorum.add_argument("--no-initial-controllers", "-N", action="store_true", help="no effect: see --standalone")
    quorum.add_argument("--initial-controllers", "-I", metavar="LIST", help="ID@HOST:PORT:DIRECTORY of this node alone")
    add_offline_commands(parser)
    parser.add_command("random-uuid", "Print a random cluster id.")
    return parser


def _configs(path: str) -> EffectiveConfigs:
    if not Path(path).is_file():
        raise Failure(f'Exception in thread "main" java.nio.file.NoSuchFileException: {path}')
    try:
        settings = gather(file=path)
    except SettingsError as error:
        raise Failure(str(error)) from error
    missing = next((key for key in _REQUIRED if key not in settings.chosen), None)
    if missing is not None:
        raise Failure(
            'Exception in thread "main" org.apache.kafka.common.config.ConfigException: Missing required configuration'
            f' "{missing}" which has no default value.'
        )
    return EffectiveConfigs(MetadataImage(), settings.broker_settings, int(settings.chosen["node.id"].text))


def _directories(configs: EffectiveConfigs) -> list[str]:
    """The log directories, that of the metadata log first."""
    dirs = configs.broker["log.dirs"] or configs.broker["log.dir"]
    home = configs.broker["metadata.log.dir"] or dirs[0]
    return [home, *(path for path in dirs if path != home)]


def _info(configs: EffectiveConfigs) -> int:
    found = []
    problems = []
    metadata: Mapping[str, str] | None = None
    for path in sorted(_directories(configs)):
        if not Path(path).is_dir():
            problems.append(f"{path} does not exist")
            continue
        found.append(path)
        properties = _properties(path)
        if properties is None:
            problems.append(f"{path} is not formatted.")
        elif metadata is None:
            metadata = properties
        elif properties.get("cluster.id") != metadata.get("cluster.id"):
            problems.append(f"{path} belongs to cluster {properties.get('cluster.id')}")
    for title, lines in (("Found log director", found), ("Found problem", problems)):
        if lines:
            one, many = ("y", "ies") if title.endswith("director") else ("", "s")
            print(f"{title}{one if len(lines) == 1 else many}:")
            print("".join(f"  {line}\n" for line in lines))
    if metadata is not None:
        shown = ", ".join(f"{key}={value}" for key, value in sorted(metadata.items()))
        print(f"Found metadata: {{{shown}}}\n")
    return 1 if problems else 0


def _format(given: argparse.Namespace, configs: EffectiveConfigs) -> int:
    levels = _levels(given)
    users = _users(given.add_scram, levels)
    joins = is_broker_alone(configs)
    if joins and given.standalone:
        raise Failure("You can only use --standalone on a controller.")
    directory_id = None if joins else _own_directory_id(given.initial_controllers, configs.node_id)
    dirs = _directories(configs)
    new = [path for path in dirs if not _is_formatted(path, given.cluster_id, ignore=given.ignore_formatted)]
    if not new:
        print("All of the log directories are already formatted.")
        return 0
    records = [
        f"ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at version 0)"
        for name, level in levels.items()
    ]
    # The official tool also prints the keys of the credential. They are left out, because they are enough to log in.
    records += [
        f"ApiMessageAndVersion(UserScramCredentialRecord(name='{user.name}', mechanism={user.mechanism},"
        f" iterations={user.iterations}) at version 0)"
        for user in users
    ]
    print(
        f"Bootstrap metadata: BootstrapMetadata(records=[{', '.join(records)}],"
        f" metadataVersionLevel={levels[METADATA_VERSION]}, source=format command)"
    )
    release = METADATA_VERSIONS[levels[METADATA_VERSION]][0]
    files = OsFiles()
    for path in reversed(new):
        home = path == dirs[0]
        kind = "data" if not home else "dynamic metadata voter" if given.standalone else "metadata"
        print(f"Formatting {kind} directory {path} with metadata.version {release}.")
        identity = Identity(
            configs.node_id,
            uuid_from_text(directory_id) if home and directory_id else random_uuid(os.urandom),
            *controller_endpoint(configs),
        )
        files.make_directory(path)
        if home and not joins:
            format_if_new(files, path, identity, time.time_ns() // 1_000_000, levels=levels, users=users)
        properties = {
            "version": "1",
            "cluster.id": given.cluster_id,
            "node.id": str(configs.node_id),
            "directory.id": uuid_text(identity.directory_id),
        }
        # Last, as this file alone marks a directory as formatted.
        files.write_bytes(
            f"{path}/{checkpoints.META_PROPERTIES}", checkpoints.write_properties(properties), durable=True
        )
    return 0


def _users(arguments: Sequence[str], levels: Mapping[str, int]) -> list[UserScramCredentialRecord]:
    if arguments and levels[METADATA_VERSION] < _SCRAM_VERSION_MIN:
        raise Failure("SCRAM is only supported in metadata.version 3.5-IV2 or later.")
    try:
        return [scram_record(argument) for argument in arguments]
    except ScramArgumentError as error:
        raise Failure(str(error)) from None


def _levels(given: argparse.Namespace) -> dict[str, int]:
    """The feature levels of the new directory. Raises Failure for a feature or level that is not served."""
    levels = bootstrap_levels()
    if given.release_version is not None:
        release = release_levels(release_level(given.release_version))
        levels = {name: min(level, release[name]) for name, level in levels.items()}
    for name, level in map(parse_level, given.feature):
        if name in KNOWN and name not in SERVED and level == 0:
            continue  # the same command formats Apache Kafka's controllers of a cluster that kwire can join
        if name not in SERVED:
            known = ", ".join(sorted(each for each in SERVED if each != METADATA_VERSION))
            raise Failure(f"Unsupported feature: {name}. Supported features are: {known}")
        if not SERVED[name].lowest <= level <= SERVED[name].highest:
            raise Failure(f"No feature:{name} with feature level {level}")
        if name in levels:  # kraft.version is elsewhere
            levels[name] = level
    return {name: level for name, level in levels.items() if level > 0}


def _own_directory_id(controllers: str | None, node_id: int) -> str | None:
    """The directory id that --initial-controllers gives this node. Raises Failure for a quorum of several."""
    if controllers is None:
        return None
    found = re.fullmatch(r"(\d+)@[^,]+:\d+:([\w-]{22})", controllers)
    if found is None or int(found[1]) != node_id:
        raise Failure("--initial-controllers must name this node alone, as ID@HOST:PORT:DIRECTORY")
    return found[2]


def _is_formatted(path: str, cluster_id: str, *, ignore: bool) -> bool:
    """Whether a directory has an identity. Raises Failure when it is another cluster's, or must not have one."""
    properties = _properties(path)
    if properties is None:
        return False
    if properties.get("cluster.id") != cluster_id:
        raise Failure(
            f"Invalid cluster.id in: {path}/{checkpoints.META_PROPERTIES}. Expected {cluster_id}, but read"
            f" {properties.get('cluster.id')}"
        )
    if not ignore:
        raise Failure(
            f"Log directory {path} is already formatted. Use --ignore-formatted to ignore this directory and format the"
            " others."
        )
    return True


def _properties(path: str) -> Mapping[str, str] | None:
    return checkpoints.read_properties(OsFiles().read_bytes(f"{path}/{checkpoints.META_PROPERTIES}"))
