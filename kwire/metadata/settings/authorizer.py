"""The settings of the authorizer.

Responsible for: ``authorizer.class.name``, and the two settings that Kafka's StandardAuthorizer reads itself, which are
in no table of configs. Must not depend on: ACLs, how a decision is made (``security.standard_authorizer``).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kwire.metadata.configs.definitions import ConfigProblem
from kwire.metadata.configs.effective import EffectiveConfigs

STANDARD_AUTHORIZER: Final = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


class AuthorizerSettings(NamedTuple):
    """``super_users`` are principals such as ``User:admin``.

    ``allow_unlisted``: resources without an ACL are allowed.
    """

    super_users: frozenset[str]
    allow_unlisted: bool


def read_authorizer(configs: EffectiveConfigs) -> AuthorizerSettings | None:
    """Return the settings of the authorizer, None for a broker without one. Raises ConfigProblem."""
    if not configs.broker["authorizer.class.name"].strip():
        return None
    unlisted = configs.text("allow.everyone.if.no.acl.found") or ""
    return AuthorizerSettings(_super_users(configs.text("super.users") or ""), unlisted.strip().lower() == "true")


def _super_users(text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(";")]
    wrong = next((name for name in names if name and ":" not in name), None)
    if wrong is not None:
        message = f"expected a string in format principalType:principalName but got {wrong}"
        raise ConfigProblem("super.users", text, message, "principals separated by semicolons: User:admin;User:ops")
    return frozenset(filter(None, names))
