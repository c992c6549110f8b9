"""The settings of a broker, gathered: flags, environment, a server.properties file, and kwire's own defaults.

Responsible for: the sources of settings, their precedence (flag, environment, file, kwire's own), and the messages for
a key that is unknown, retired, not served or out of range. Must not depend on: the effect of settings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from kwire.cli.durations import in_milliseconds
from kwire.cli.settings.config_providers import CONFIG_PROVIDERS, ConfigProviders, ProviderError, is_provider_setting
from kwire.cli.settings.container_environment import read_environment
from kwire.cli.settings.topic_specs import TopicSpecError, parse_topic
from kwire.metadata.configs.definitions import (
    AUTHORIZER_SETTINGS,
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
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.configs.support import Kind, support_of
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER
from kwire.metadata.settings.jaas import LoginModule, login_module_text, parse_file
from kwire.metadata.settings.listeners import read_listeners
from kwire.metadata.settings.sasl import LOGIN_MODULES, jaas_key, settings_for_users, uses_sasl
from kwire.metadata.settings.start_rules import check_start

if TYPE_CHECKING:  # most brokers start without a list of topics
    from kwire.metadata.decisions.topics import NewTopic

Level: TypeAlias = Literal["info", "warning"]

# Defaults without any setting: reachable from this machine only, data below the current directory.
LISTENERS: Final = "PLAINTEXT://localhost:9092"
LOG_DIRS: Final = "kwire-data"
_OWN: Final = "kwire's default"
_HIDDEN: Final = "[hidden]"
_JAAS_FILE: Final = re.compile(r"-Djava\.security\.auth\.login\.config==?(\S+)")
# Settings copied from a cluster require more replicas than one broker has. Kafka accepts them and waits for brokers.
_REPLICA_COUNTS: Final = {
    "default.replication.factor": "topics cannot be created without an explicit replication factor",
    "offsets.topic.replication.factor": "consumer groups will not work",
    "transaction.state.log.replication.factor": "transactions will not work",
}


class SettingsError(Exception):
    """The broker cannot start with these settings; the message has a line for each problem."""


class Setting(NamedTuple):
    """A value as text, and its source: "--set", "server.properties", "KAFKA_LOG_DIRS"."""

    text: str
    source: str


class InitialTopic(NamedTuple):
    """A topic to create at the start unless it exists, and the source: "--topic", "KAFKA_CREATE_TOPICS"."""

    topic: NewTopic
    source: str


class Note(NamedTuple):
    """A message to log once logging is set up."""

    level: Level
    text: str


class Settings:
    """The gathered settings, by Kafka's names."""

    def __init__(self) -> None:
        self.chosen: dict[str, Setting] = {}
        self.cluster_id: str | None = None
        self.topics: list[InitialTopic] = []
        self.users: dict[str, str] = {}  # names and passwords of ``--user``
        self.notes: list[Note] = []

    @property
    def broker_settings(self) -> BrokerSettings:
        return BrokerSettings({key: setting.text for key, setting in self.chosen.items()})

    def explain(self, problem: ConfigProblem) -> str:
        """One sentence: key, value, source, reason, and the values that are accepted."""
        setting = self.chosen.get(problem.name)
        source = "" if setting is None else f" ({setting.source})"
        # Kafka's message begins with key and value, which this sentence has already.
        why = str(problem).removeprefix(f"Invalid value {problem.value} for configuration {problem.name}: ").rstrip(".")
        duration = ", or a duration such as 1d" if problem.name.endswith(".ms") and _takes_durations(setting) else ""
        given = problem.name if problem.value is None else f"{problem.name}={problem.value}"
        return f"{given}{source}: {why}; accepted: {problem.expected}{duration}"


def _takes_durations(setting: Setting | None) -> bool:
    return setting is not None and setting.source in ("--set", "--default")


def gather(
    *,
    listen: Sequence[str] = (),
    data: str | None = None,
    file: str | None = None,
    sets: Sequence[str] = (),
    defaults: Sequence[str] = (),
    topics: Sequence[str] = (),
    users: Sequence[str] = (),
    secure: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Settings:
    """Put the sources together and check each value. Raises SettingsError.

    ``environment`` is read only where it is given. ``defaults`` are KEY=VALUE for keys that no other source gives.
    ``topics`` are words as ``kwire.cli.settings.topic_specs`` reads them, ``users`` are NAME:PASSWORD. ``secure`` are
    the settings of --secure, with which clients log in over TLS. ``strict`` refuses settings of a file or variable that
    have no effect.
    """
    settings = Settings()
    settings.users = dict(map(_read_user, users))
    protocol = "SASL_SSL" if secure is not None else "SASL_PLAINTEXT" if users else "PLAINTEXT"
    if file is not None:
        _take(settings, {key: Setting(text, file) for key, text in _read_properties(file)}, lenient=not strict)
    if environment is not None:
        _take(settings, _from_environment(environment, settings), lenient=not strict)
    _take(settings, dict(map(_from_flag, sets)), lenient=False)
    if listen:
        _listen(settings, [_listener(text, protocol) for text in listen])
    if data is not None:
        settings.chosen.pop("log.dir", None)
        settings.chosen["log.dirs"] = Setting(data, "--data")
    settings.topics += _read_topics(topics, "--topic")
    own = {key: Setting(text, "--secure") for key, text in (secure or {}).items()}
    _fill_in(settings, own | dict(map(_from_default, defaults)), protocol)
    _resolve_references(settings, environment)
    if environment is not None:
        _read_jaas_file(settings, environment)
    _name_inter_broker_listener(settings)
    if users:
        _serve_users(settings)
    elif secure is not None:
        _serve_scram(settings)
    for key in settings.chosen:
        _check(settings, key)
    _check_together(settings)
    _warn_of_replica_counts(settings)
    _note_authorizer(settings)
    return settings


def _take(settings: Settings, given: Mapping[str, Setting], *, lenient: bool) -> None:
    """Add the settings of one source over those of earlier sources, and report each that is wrong."""
    refused = []
    for key, setting in given.items():
        if key in RETIRED:
            successor = RETIRED[key]
            advice = f"; use {successor} instead" if successor else "; it can be left out"
            settings.notes.append(
                Note("warning", f"{key} ({setting.source}) is not a setting of Kafka any more{advice}")
            )
            continue
        objection = _objection(key, setting)
        if objection is not None:
            if not lenient:
                refused.append(objection)
            else:
                settings.notes.append(Note("warning", objection))
        settings.chosen[key] = setting
    if refused:
        raise SettingsError("\n".join(refused))


def _resolve_references(settings: Settings, environment: Mapping[str, str] | None) -> None:
    """Replace ``${env:NAME}`` and other references to config providers (KIP-297). Raises SettingsError."""
    referring = [key for key, setting in settings.chosen.items() if "${" in setting.text]
    if not referring and CONFIG_PROVIDERS not in settings.chosen:
        return
    texts = {key: setting.text for key, setting in settings.chosen.items()}
    try:
        providers = ConfigProviders(texts, os.environ if environment is None else environment)
    except ProviderError as error:
        raise SettingsError(str(error)) from None
    refused = []
    for key in referring:
        text, source = settings.chosen[key]
        try:
            settings.chosen[key] = Setting(providers.resolve(text), source)
        except ProviderError as error:
            refused.append(f"{key} ({source}): {error}")
    if refused:
        raise SettingsError("\n".join(refused))


def _read_user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise SettingsError("--user takes NAME:PASSWORD, such as --user alice:secret")
    return name, password


def _serve_users(settings: Settings) -> None:
    """Let the users of ``--user`` log in at each SASL listener, by PLAIN and SCRAM."""
    listeners = _sasl_listeners(settings)
    if not listeners:
        urls, source = settings.chosen["listeners"]
        raise SettingsError(
            f"--user needs a listener at which clients log in, and listeners={urls} ({source}) has none: use"
            " SASL_PLAINTEXT://HOST:PORT"
        )
    for key, text in settings_for_users(listeners, settings.users).items():
        if key in settings.chosen and key.endswith(".plain.sasl.jaas.config"):
            raise SettingsError(f"--user and {key} ({settings.chosen[key].source}) both name users: use one of them")
        settings.chosen.setdefault(key, Setting(text, "--user"))


def _serve_scram(settings: Settings) -> None:
    """Let users with stored credentials log in at each SASL listener, by SCRAM."""
    mechanisms = ("SCRAM-SHA-512", "SCRAM-SHA-256")
    texts = {"sasl.enabled.mechanisms": ",".join(mechanisms), "sasl.mechanism.inter.broker.protocol": mechanisms[0]}
    for listener in _sasl_listeners(settings):
        texts |= {jaas_key(listener, one): login_module_text(LoginModule(LOGIN_MODULES[one], {})) for one in mechanisms}
    for key, text in texts.items():
        settings.chosen.setdefault(key, Setting(text, "--secure"))


def _read_jaas_file(settings: Settings, environment: Mapping[str, str]) -> None:
    """Set the login modules of the file in KAFKA_OPTS for each listener without its own."""
    named = _JAAS_FILE.search(environment.get("KAFKA_OPTS", ""))
    listeners = _sasl_listeners(settings)
    if named is None or not listeners:
        return
    path = named[1].strip("\"'")
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            contexts = parse_file(file.read())
    except OSError as error:
        raise SettingsError(f"cannot read {path} (KAFKA_OPTS): {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path} (KAFKA_OPTS) is not a JAAS file: {error}") from None
    for listener in listeners:
        modules = contexts.get(f"{listener.lower()}.KafkaServer") or contexts.get("KafkaServer", [])
        for mechanism, name in LOGIN_MODULES.items():
            module = next((each for each in modules if each.name == name), None)
            if module is not None:
                setting = Setting(login_module_text(module), path)
                settings.chosen.setdefault(jaas_key(listener, mechanism), setting)


def _sasl_listeners(settings: Settings) -> list[str]:
    """Return the names of the listeners at which clients log in."""
    setting = settings.chosen.get("listener.security.protocol.map")
    pairs = [] if setting is None else [pair.rpartition(":") for pair in setting.text.split(",")]
    protocols = {name.strip().upper(): protocol.strip().upper() for name, _, protocol in pairs}
    names = [url.strip().partition("://")[0].upper() for url in settings.chosen["listeners"].text.split(",")]
    return [name for name in names if uses_sasl(protocols.get(name, name))]


def _objection(key: str, setting: Setting) -> str | None:
    """Why this key is unknown or has no effect; None if it has one."""
    base = split_listener_prefix(key)[1]
    if is_provider_setting(key) or key in AUTHORIZER_SETTINGS:
        return None
    if base not in broker_keys():
        likely = nearest(key)
        hint = f"; did you mean {likely}?" if likely else ""
        return f"{key} ({setting.source}) is not a broker setting of Kafka{hint}"
    stands = support_of(key)
    if stands.kind is Kind.NOT_SERVED and not _is_default(base, setting.text):
        shown = _HIDDEN if broker_keys()[base].sensitive else setting.text
        return f"{key}={shown} ({setting.source}) has no effect: {stands.why}"
    return None


def _is_default(key: str, text: str) -> bool:
    try:
        return broker_keys()[key].parse(text) == broker_keys()[key].default
    except ConfigProblem:
        return False  # a value that cannot be parsed is reported by _check


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


def _can_have_other_brokers(settings: Settings) -> bool:
    """Tell whether this node is one of a cluster, or serves its controller to brokers that join it."""
    configs = EffectiveConfigs(MetadataImage(), settings.broker_settings, node_id=-1)
    return len(configs.broker["process.roles"]) == 1 or bool(read_listeners(configs).controllers)


def _warn_of_replica_counts(settings: Settings) -> None:
    if _can_have_other_brokers(settings):
        return
    for key, consequence in _REPLICA_COUNTS.items():
        if key in settings.chosen and int(settings.chosen[key].text) > 1:
            text, source = settings.chosen[key]
            settings.notes.append(
                Note("warning", f"{key}={text} ({source}), but there is only one broker: {consequence}")
            )


def _note_authorizer(settings: Settings) -> None:
    """Report settings of an authorizer where there is none, and note an authorizer without super users."""
    class_name = settings.chosen.get("authorizer.class.name")
    if class_name is not None and class_name.text.strip():
        if "super.users" not in settings.chosen:
            text = "no super.users with this authorizer: only clients that an ACL allows it can change ACLs"
            settings.notes.append(Note("warning", text))
        return
    for key in sorted(AUTHORIZER_SETTINGS & settings.chosen.keys()):
        source = settings.chosen[key].source
        settings.notes.append(
            Note("warning", f"{key} ({source}) has no effect without authorizer.class.name={STANDARD_AUTHORIZER}")
        )


def _fill_in(settings: Settings, defaults: Mapping[str, Setting], protocol: str) -> None:
    """Add settings that follow from others, and defaults for those that no source gives.

    ``protocol`` is the security protocol of the listener where none is given.
    """
    chosen = settings.chosen
    if {"broker.id", "node.id"} <= chosen.keys() and chosen["broker.id"].text != chosen["node.id"].text:
        one, other = chosen["node.id"], chosen["broker.id"]
        raise SettingsError(
            f"node.id={one.text} ({one.source}) and broker.id={other.text} ({other.source}) are two names of one"
            " setting: use one of them"
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
        source = {"SASL_SSL": "--secure", "SASL_PLAINTEXT": "--user"}.get(protocol, _OWN)
        own = Setting(LISTENERS.replace("PLAINTEXT", protocol), source)
        chosen["listeners"] = own if protocol != "PLAINTEXT" else defaults.get("listeners", own)
        if "advertised.listeners" in chosen:
            # Clients connect to these ports, so the broker listens on them.
            everywhere = re.sub(r"://[^,]*:", "://:", chosen["advertised.listeners"].text)
            chosen["listeners"] = Setting(everywhere, "advertised.listeners")


def _read_topics(words: Iterable[str], source: str) -> list[InitialTopic]:
    try:
        return [InitialTopic(parse_topic(word), source) for word in words]
    except TopicSpecError as error:
        raise SettingsError(f"{source}: {error}") from error


def _from_default(text: str) -> tuple[str, Setting]:
    key, setting = _from_flag(text, "--default")
    objection = _objection(key, setting)
    if objection is not None:
        raise SettingsError(objection)
    return key, setting


def _from_flag(text: str, flag: str = "--set") -> tuple[str, Setting]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"{flag} {text}: write KEY=VALUE, such as {flag} num.partitions=3")
    # A file stays valid for Kafka, so only flags accept durations such as 1d.
    return key.strip(), Setting(in_milliseconds(key.strip(), value.strip()), flag)


def _listen(settings: Settings, urls: list[str]) -> None:
    """Replace the client listeners of a file or variable with ``--listen``; controller listeners stay."""
    before, names = settings.chosen.get("listeners"), settings.chosen.get("controller.listener.names")
    if before is not None and names is not None:
        controllers = {name.strip() for name in names.text.split(",")}
        urls += [url for url in before.text.split(",") if url.strip().partition("://")[0] in controllers]
    settings.chosen["listeners"] = Setting(",".join(urls), "--listen")


def _name_inter_broker_listener(settings: Settings) -> None:
    """Kafka requires the name of the inter-broker listener; where kwire chose the listeners, it is the first."""
    urls, source = settings.chosen["listeners"]
    names = [url.strip().partition("://")[0].upper() for url in urls.split(",")]
    given = settings.chosen.keys() & {"inter.broker.listener.name", "security.inter.broker.protocol"}
    if source in ("--listen", "--user", "advertised.listeners") and "PLAINTEXT" not in names and not given:
        settings.chosen["inter.broker.listener.name"] = Setting(names[0], source)


def _listener(text: str, protocol: str) -> str:
    """Complete HOST:PORT and PORT to a listener; PORT alone listens on localhost."""
    if "://" in text:
        return text
    return f"{protocol}://localhost:{text}" if text.isdecimal() else f"{protocol}://{text}"


def _from_environment(environment: Mapping[str, str], settings: Settings) -> dict[str, Setting]:
    """Read the variables of Kafka's container images; report the unknown ones in one warning."""
    read = read_environment(environment)
    settings.cluster_id = read.cluster_id
    settings.topics += _read_topics(read.topics, "KAFKA_CREATE_TOPICS")
    without_effect = set(read.without_effect)
    if _JAAS_FILE.search(environment.get("KAFKA_OPTS", "")):
        without_effect.discard("KAFKA_OPTS")
    if without_effect:
        names = ", ".join(sorted(without_effect))
        settings.notes.append(Note("info", f"these environment variables have no effect here: {names}"))
    if read.unknown:
        names = ", ".join(read.unknown)
        settings.notes.append(Note("warning", f"these environment variables are not broker settings: {names}"))
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


class ConfigLine(NamedTuple):
    """One line of ``kwire config``. ``value`` is None for null.

    ``remark`` explains a config of Kafka that kwire does not honour, and describes a config of kwire.
    """

    key: str
    value: str | None
    source: str
    remark: str


def show(settings: Settings) -> list[ConfigLine]:
    """Every broker setting with its effective value and source."""
    keys = [key for key, known in broker_keys().items() if not known.internal or key in settings.chosen]
    keys += [key for key in settings.chosen if key not in broker_keys()]
    return [_show_one(settings, key) for key in sorted(keys)]


def _show_one(settings: Settings, key: str) -> ConfigLine:
    setting = settings.chosen.get(key)
    base = split_listener_prefix(key)[1]
    if base not in broker_keys():
        assert setting is not None
        if key in AUTHORIZER_SETTINGS:
            return ConfigLine(key, setting.text, setting.source, "read by the authorizer")
        # It may be a secret of a plugin or a misspelled one: Kafka hides such values too.
        return ConfigLine(key, _HIDDEN, setting.source, "unknown to Kafka")
    known, stands = broker_keys()[base], support_of(key)
    value: Value = known.default if setting is None else known.parse(setting.text)
    text = _HIDDEN if known.sensitive and value is not None else value_text(value)
    remark = known.documentation or "" if stands.kind is Kind.HONOURED else f"{stands.kind.value}: {stands.why}"
    return ConfigLine(key, text, _default_source(key) if setting is None else setting.source, remark)


def _default_source(key: str) -> str:
    return _OWN if key in OWN_DEFAULTS else "default"
