"""The settings of a broker, gathered: flags, environment, a server.properties file, and what kwire starts with.

Owns: where settings come from, which source has the last word (flag, environment, file, kwire's own), and what is
said of a key that is unknown, retired, not served or out of range. May not know: what a setting does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from kwire.cli.container_environment import read_environment
from kwire.cli.topic_specs import TopicSpecError, parse_topic
from kwire.metadata.config_support import Kind, support_of
from kwire.metadata.configs import (
    OWN_DEFAULTS,
    RETIRED,
    ConfigProblem,
    Value,
    broker_keys,
    nearest,
    parse_broker_config,
    split_listener_prefix,
    value_text,
)
from kwire.metadata.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.metadata.start_rules import check_start
from kwire.metadata.topics import NewTopic

Level: TypeAlias = Literal["info", "warning"]

# What kwire starts with where nobody says anything: reachable from this machine only, its data where it was started.
LISTENERS: Final = "PLAINTEXT://localhost:9092"
LOG_DIRS: Final = "kwire-data"
_OWN: Final = "kwire's default"
_HIDDEN: Final = "[hidden]"
_PROVIDED: Final = re.compile(r"\$\{[A-Za-z0-9_.-]+:[^}]*\}")  # ${provider:key} or ${provider:path:key} (KIP-297)
# Files pasted from a cluster ask for more copies than one broker can have; Kafka takes them too, and waits for brokers.
_COPIES: Final = {
    "default.replication.factor": "topics whose creator does not say how many copies cannot be made",
    "offsets.topic.replication.factor": "consumer groups will not work",
    "transaction.state.log.replication.factor": "transactions will not work",
    "min.insync.replicas": "records with acks=all and what groups commit will be refused",
    "transaction.state.log.min.isr": "transactions will not work",
}
# A broker that was told to guard its topics must not start with open doors, whoever told it.
_GUARDS: Final = frozenset({"authorizer.class.name"})


class SettingsError(Exception):
    """The broker cannot start with these settings; the message is a line for each thing that is wrong with them."""


class Setting(NamedTuple):
    """A value as text, and where it came from: "--set", "server.properties", "KAFKA_LOG_DIRS"."""

    text: str
    source: str


class InitialTopic(NamedTuple):
    """A topic to create at the start unless it exists, and where that was asked: "--topic", "KAFKA_CREATE_TOPICS"."""

    topic: NewTopic
    source: str


class Note(NamedTuple):
    """Something to log once logging is set up."""

    level: Level
    text: str


class Settings:
    """What was gathered, by Kafka's names."""

    def __init__(self) -> None:
        self.chosen: dict[str, Setting] = {}
        self.cluster_id: str | None = None
        self.topics: list[InitialTopic] = []
        self.notes: list[Note] = []

    @property
    def broker_settings(self) -> BrokerSettings:
        return BrokerSettings({key: setting.text for key, setting in self.chosen.items()})

    def explain(self, problem: ConfigProblem) -> str:
        """One sentence: key, value, where it came from, and what would be right."""
        setting = self.chosen.get(problem.name)
        source = "" if setting is None else f" ({setting.source})"
        # Kafka's words begin with key and value, which were just said.
        why = str(problem).removeprefix(f"Invalid value {problem.value} for configuration {problem.name}: ").rstrip(".")
        return f"{problem.name}={problem.value}{source}: {why}; right would be: {problem.expected}"


def gather(
    *,
    listen: Sequence[str] = (),
    data: str | None = None,
    file: str | None = None,
    sets: Sequence[str] = (),
    defaults: Sequence[str] = (),
    topics: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Settings:
    """Put the sources together and check each value. Raises SettingsError.

    ``environment`` is read only where it is given. ``defaults`` are KEY=VALUE for keys that no other source gives.
    ``topics`` are words as ``kwire.cli.topic_specs`` reads them. ``strict`` refuses settings of a file or variable
    that have no effect.
    """
    settings = Settings()
    if file is not None:
        _take(settings, {key: Setting(text, file) for key, text in _read_properties(file)}, lenient=not strict)
    if environment is not None:
        _take(settings, _from_environment(environment, settings), lenient=not strict)
    _take(settings, dict(map(_from_flag, sets)), lenient=False)
    if listen:
        _listen(settings, list(map(_listener, listen)))
    if data is not None:
        settings.chosen.pop("log.dir", None)
        settings.chosen["log.dirs"] = Setting(data, "--data")
    settings.topics += _read_topics(topics, "--topic")
    _fill_in(settings, dict(map(_from_default, defaults)))
    _name_inter_broker_listener(settings)
    for key in settings.chosen:
        _check(settings, key)
    _check_together(settings)
    _warn_of_copies(settings)
    return settings


def _take(settings: Settings, given: Mapping[str, Setting], *, lenient: bool) -> None:
    """Lay the settings of one source over what is there, and say all that is not right with them."""
    _refuse_config_providers(given)
    refused = []
    for key, setting in given.items():
        if key in RETIRED:
            successor = RETIRED[key]
            advice = f"; use {successor} instead" if successor else "; it can be left out"
            settings.notes.append(Note("warning", f"{key} ({setting.source}) is no setting of Kafka any more{advice}"))
            continue
        complaint = _complaint(key, setting)
        if complaint is not None:
            if not lenient or key in _GUARDS:
                refused.append(complaint)
            else:
                settings.notes.append(Note("warning", complaint))
        settings.chosen[key] = setting
    if refused:
        raise SettingsError("\n".join(refused))


def _refuse_config_providers(given: Mapping[str, Setting]) -> None:
    """Refuse ``${env:NAME}`` and the like, which would otherwise be read as they stand."""
    matches = ((key, setting, _PROVIDED.search(setting.text)) for key, setting in given.items())
    found = [(key, setting, match[0]) for key, setting, match in matches if match is not None]
    if found:
        raise SettingsError(
            "\n".join(
                f"{key} ({setting.source}): config providers are not served yet, so {reference} has no value; write the"
                " value itself"
                for key, setting, reference in found
            )
        )


def _complaint(key: str, setting: Setting) -> str | None:
    """What is wrong with giving this key at all."""
    base = split_listener_prefix(key)[1]
    if base not in broker_keys():
        likely = nearest(key)
        hint = f"; did you mean {likely}?" if likely else ""
        return f"{key} ({setting.source}) is no broker setting of Kafka{hint}"
    stands = support_of(key)
    if stands.kind is Kind.NOT_SERVED and not _is_default(base, setting.text):
        shown = _HIDDEN if broker_keys()[base].sensitive else setting.text
        return f"{key}={shown} ({setting.source}) has no effect: {stands.why}"
    return None


def _is_default(key: str, text: str) -> bool:
    try:
        return broker_keys()[key].parse(text) == broker_keys()[key].default
    except ConfigProblem:
        return False  # a value that cannot be read is another complaint


def _check(settings: Settings, key: str) -> None:
    if split_listener_prefix(key)[1] not in broker_keys():
        return
    try:
        parse_broker_config(key, settings.chosen[key].text)
    except ConfigProblem as problem:
        raise SettingsError(settings.explain(problem)) from problem


def _check_together(settings: Settings) -> None:
    try:
        check_start(EffectiveConfigs(MetadataImage(), settings.broker_settings, node_id=-1))
    except ConfigProblem as problem:
        raise SettingsError(settings.explain(problem)) from problem


def _warn_of_copies(settings: Settings) -> None:
    for key, consequence in _COPIES.items():
        if key in settings.chosen and int(settings.chosen[key].text) > 1:
            text, source = settings.chosen[key]
            settings.notes.append(Note("warning", f"{key}={text} ({source}), and there is one broker: {consequence}"))


def _fill_in(settings: Settings, defaults: Mapping[str, Setting]) -> None:
    """Add settings that follow from others, and defaults for those that no source gives."""
    chosen = settings.chosen
    if {"broker.id", "node.id"} <= chosen.keys() and chosen["broker.id"].text != chosen["node.id"].text:
        one, other = chosen["node.id"], chosen["broker.id"]
        raise SettingsError(
            f"node.id={one.text} ({one.source}) and broker.id={other.text} ({other.source}) are two names of one"
            " setting: give one of them"
        )
    for old, new in (("broker.id", "node.id"), ("node.id", "broker.id")):
        if old in chosen and new not in chosen:
            chosen[new] = Setting(chosen[old].text, f"{old}, {chosen[old].source}")
    for key, setting in defaults.items():
        if key not in ("listeners", "log.dirs"):
            chosen.setdefault(key, setting)
    if "log.dirs" not in chosen and "log.dir" not in chosen:
        chosen["log.dirs"] = defaults.get("log.dirs", Setting(LOG_DIRS, _OWN))
    if "listeners" not in chosen:
        chosen["listeners"] = defaults.get("listeners", Setting(LISTENERS, _OWN))
        if "advertised.listeners" in chosen:
            # Clients are told these names and ports, so the broker listens on these ports.
            everywhere = re.sub(r"://[^,]*:", "://:", chosen["advertised.listeners"].text)
            chosen["listeners"] = Setting(everywhere, "advertised.listeners")


def _read_topics(words: Iterable[str], source: str) -> list[InitialTopic]:
    try:
        return [InitialTopic(parse_topic(word), source) for word in words]
    except TopicSpecError as error:
        raise SettingsError(f"{source}: {error}") from error


def _from_default(text: str) -> tuple[str, Setting]:
    key, setting = _from_flag(text, "--default")
    complaint = _complaint(key, setting)
    if complaint is not None:
        raise SettingsError(complaint)
    return key, setting


def _from_flag(text: str, flag: str = "--set") -> tuple[str, Setting]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"{flag} {text}: write KEY=VALUE, such as {flag} num.partitions=3")
    return key.strip(), Setting(value.strip(), flag)


def _listen(settings: Settings, urls: list[str]) -> None:
    """Let ``--listen`` replace the listeners for clients that a file or variable gives; a controller's stay."""
    before, names = settings.chosen.get("listeners"), settings.chosen.get("controller.listener.names")
    if before is not None and names is not None:
        controllers = {name.strip() for name in names.text.split(",")}
        urls += [url for url in before.text.split(",") if url.strip().partition("://")[0] in controllers]
    settings.chosen["listeners"] = Setting(",".join(urls), "--listen")


def _name_inter_broker_listener(settings: Settings) -> None:
    """Kafka wants to know which listener other brokers use; where kwire chose the listeners, it takes the first."""
    urls, source = settings.chosen["listeners"]
    names = [url.strip().partition("://")[0].upper() for url in urls.split(",")]
    given = settings.chosen.keys() & {"inter.broker.listener.name", "security.inter.broker.protocol"}
    if source in ("--listen", "advertised.listeners") and "PLAINTEXT" not in names and not given:
        settings.chosen["inter.broker.listener.name"] = Setting(names[0], source)


def _listener(text: str) -> str:
    """Complete HOST:PORT, and PORT alone, which is on this machine only."""
    if "://" in text:
        return text
    return f"PLAINTEXT://localhost:{text}" if text.isdecimal() else f"PLAINTEXT://{text}"


def _from_environment(environment: Mapping[str, str], settings: Settings) -> dict[str, Setting]:
    """Take the variables of the images that people know; name the unknown ones in one warning."""
    read = read_environment(environment)
    settings.cluster_id = read.cluster_id
    settings.topics += _read_topics(read.topics, "KAFKA_CREATE_TOPICS")
    if read.without_effect:
        names = ", ".join(sorted(read.without_effect))
        settings.notes.append(Note("info", f"environment variables that have no effect here: {names}"))
    if read.unknown:
        names = ", ".join(read.unknown)
        settings.notes.append(Note("warning", f"environment variables that are no broker settings: {names}"))
    return {key: Setting(*given) for key, given in read.settings.items()}


def _read_properties(path: str) -> Iterable[tuple[str, str]]:
    import javaproperties

    try:
        with open(path, "rb") as properties:  # noqa: PTH123
            return list(javaproperties.load(properties, object_pairs_hook=list))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path} is not a properties file: {error}") from error


class Shown(NamedTuple):
    """One line of ``kwire config``. ``value`` is None for null.

    ``remark`` says so where kwire does nothing with a config of Kafka, and what a config of kwire does.
    """

    key: str
    value: str | None
    source: str
    remark: str


def show(settings: Settings) -> list[Shown]:
    """Every broker setting with the value that the broker would run with, and where it came from."""
    keys = [key for key, known in broker_keys().items() if not known.internal or key in settings.chosen]
    keys += [key for key in settings.chosen if key not in broker_keys()]
    return [_show_one(settings, key) for key in sorted(keys)]


def _show_one(settings: Settings, key: str) -> Shown:
    setting = settings.chosen.get(key)
    base = split_listener_prefix(key)[1]
    if base not in broker_keys():
        assert setting is not None
        return Shown(key, setting.text, setting.source, "unknown to Kafka")
    known, stands = broker_keys()[base], support_of(key)
    value: Value = known.default if setting is None else known.parse(setting.text)
    text = _HIDDEN if known.sensitive and value is not None else value_text(value)
    remark = known.documentation or "" if stands.kind is Kind.HONOURED else f"{stands.kind.value}: {stands.why}"
    return Shown(key, text, _default_source(key) if setting is None else setting.source, remark)


def _default_source(key: str) -> str:
    return _OWN if key in OWN_DEFAULTS else "default"
