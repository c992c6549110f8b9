"""Config providers (KIP-297): values of settings that are in files, directories or environment variables.

Responsible for: FileConfigProvider, EnvVarConfigProvider and DirectoryConfigProvider, their parameters, and a sentence
for each reference without a value. Must not depend on: which settings there are.

    config.providers=file,env,dir                                       names, chosen by the user
    config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
    config.providers.dir.param.allowed.paths=/run/secrets               of files and directories
    config.providers.env.param.allowlist.pattern=KAFKA_.*               of variables

    ${file:PATH:KEY}   the value of KEY in a properties file
    ${env:NAME}        a variable
    ${dir:PATH:FILE}   what is in a file of a directory

Apache Kafka leaves a reference without a value unchanged; kwire refuses it, because its text is never the intended
value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

CONFIG_PROVIDERS: Final = "config.providers"
_CLASSES: Final = "org.apache.kafka.common.config.provider."
_REFERENCE: Final = re.compile(r"\$\{(?P<provider>[A-Za-z0-9_.-]+):(?:(?P<path>[^}]*?):)?(?P<key>[^}]*?)\}")


class ProviderError(ValueError):
    """A provider or a reference that cannot be used; the message is a sentence without any value."""


class _Provider(Protocol):
    def value(self, path: str, key: str) -> str: ...


class _Parameters(NamedTuple):
    """The parameters of one provider, after ``config.providers.NAME.param.``."""

    texts: Mapping[str, str]

    def allowed(self, path: str) -> Path:
        """Return the path. Raises ProviderError if ``allowed.paths`` does not have it."""
        given = self.texts.get("allowed.paths")
        found = Path(path)
        if given is not None:
            roots = [Path(one.strip()).resolve() for one in given.split(",") if one.strip()]
            if not any(found.resolve().is_relative_to(root) for root in roots):
                raise ProviderError(f"{path} is not below allowed.paths={given}")
        return found


def is_provider_setting(key: str) -> bool:
    """Whether a key configures the providers themselves."""
    return key == CONFIG_PROVIDERS or key.startswith(f"{CONFIG_PROVIDERS}.")


def references(text: str) -> bool:
    """Whether a value refers to a provider."""
    return _REFERENCE.search(text) is not None


class ConfigProviders:
    """The providers that some settings configure. Raises ProviderError for one that cannot be used."""

    def __init__(self, settings: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._providers: dict[str, _Provider] = {}
        for name in filter(None, map(str.strip, settings.get(CONFIG_PROVIDERS, "").split(","))):
            self._providers[name] = self._make(name, settings)

    def resolve(self, text: str) -> str:
        """Replace the references in a value. Raises ProviderError."""
        return _REFERENCE.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        name = match["provider"]
        provider = self._providers.get(name)
        if provider is None:
            advice = f"set {CONFIG_PROVIDERS}={name} and {CONFIG_PROVIDERS}.{name}.class={_CLASSES}{_likely(name)}"
            raise ProviderError(f"{match[0]} has no value, because there is no config provider {name}: {advice}")
        try:
            return provider.value(match["path"] or "", match["key"])
        except ProviderError as error:
            raise ProviderError(f"{match[0]} has no value: {error}") from None

    def _make(self, name: str, settings: Mapping[str, str]) -> _Provider:
        key = f"{CONFIG_PROVIDERS}.{name}.class"
        given = settings.get(key, "").strip()
        prefix = f"{CONFIG_PROVIDERS}.{name}.param."
        parameters = _Parameters(
            {one.removeprefix(prefix): settings[one] for one in settings if one.startswith(prefix)}
        )
        match given.removeprefix(_CLASSES):
            case "FileConfigProvider":
                return _Files(parameters)
            case "DirectoryConfigProvider":
                return _Directories(parameters)
            case "EnvVarConfigProvider":
                return _Variables(parameters, self._environment)
            case "":
                raise ProviderError(f"{key} is missing: write {key}={_CLASSES}{_likely(name)}")
        raise ProviderError(
            f"{key}={given} is not served; served are File-, Directory- and EnvVarConfigProvider of {_CLASSES[:-1]}"
        )


class _Files:
    def __init__(self, parameters: _Parameters) -> None:
        self._parameters = parameters

    def value(self, path: str, key: str) -> str:
        import javaproperties

        if not path:
            raise ProviderError("write ${NAME:FILE:KEY}")
        file = self._parameters.allowed(path)
        try:
            with file.open("rb") as properties:
                found: str | None = javaproperties.load(properties).get(key)
        except OSError as error:
            raise ProviderError(f"cannot read {path}: {error.strerror}") from None
        except ValueError as error:
            raise ProviderError(f"{path} is not a properties file") from error
        if found is None:
            raise ProviderError(f"{path} has no key {key}")
        return found


class _Directories:
    def __init__(self, parameters: _Parameters) -> None:
        self._parameters = parameters

    def value(self, path: str, key: str) -> str:
        if not path:
            raise ProviderError("write ${NAME:DIRECTORY:FILE}")
        if "/" in key:
            raise ProviderError(f"{key} is not the name of a file in {path}")
        try:
            return (self._parameters.allowed(path) / key).read_text("utf-8")
        except OSError as error:
            raise ProviderError(f"cannot read {path}/{key}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ProviderError(f"{path}/{key} is not UTF-8 text") from None


class _Variables:
    def __init__(self, parameters: _Parameters, environment: Mapping[str, str]) -> None:
        self._environment = environment
        pattern = parameters.texts.get("allowlist.pattern")
        try:
            self._allowed = None if pattern is None else re.compile(pattern)
        except re.error as error:
            raise ProviderError(f"allowlist.pattern={pattern} is not a regular expression: {error}") from None

    def value(self, path: str, key: str) -> str:
        del path  # variables have none; Kafka passes over it too
        if self._allowed is not None and not self._allowed.fullmatch(key):
            raise ProviderError(f"allowlist.pattern={self._allowed.pattern} does not allow {key}")
        if key not in self._environment:
            raise ProviderError(f"the environment variable {key} is not set")
        return self._environment[key]


def _likely(name: str) -> str:
    """Return the class that a provider of this name usually has."""
    usual = {"file": "FileConfigProvider", "dir": "DirectoryConfigProvider", "directory": "DirectoryConfigProvider"}
    return usual.get(name.lower(), "EnvVarConfigProvider")
