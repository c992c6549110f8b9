"""The TLS settings of a listener, for the side that accepts connections and the side that makes them.

Responsible for: the ``ssl.*`` settings of one listener, detecting changes of their files, and the name of a wrong
setting. Must not depend on: contexts, connections.
"""

from __future__ import annotations

from pathlib import Path

from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem
from kwire.security.tls.settings import TlsProblem, TlsSettings, read_tls_settings


def listener_tls_settings(configs: EffectiveConfigs, name: str) -> TlsSettings:
    """Read the settings of a listener, its own over those without its prefix. Raises ConfigProblem."""
    try:
        return read_tls_settings(lambda key: configs.listener_value(name, key))
    except TlsProblem as problem:
        raise config_problem(configs, name, problem) from problem


def config_problem(configs: EffectiveConfigs, listener: str, problem: TlsProblem) -> ConfigProblem:
    """Return the same problem under the name of the setting that counts: the listener's own, if it has one."""
    own = f"listener.name.{listener.lower()}.{problem.name}"
    name = own if configs.is_set(own) else problem.name
    return ConfigProblem(name, problem.value, str(problem), problem.expected)


def file_states(settings: TlsSettings) -> tuple[object, ...]:
    """Return a value that differs once the files of the settings have changed."""
    return tuple(_state(path) for path in (settings.keystore_location, settings.truststore_location))


def _state(path: str | None) -> object:
    try:
        status = None if path is None else Path(path).stat()
    except OSError:
        return None
    return status and (status.st_ino, status.st_mtime_ns, status.st_size)
