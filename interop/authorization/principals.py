"""Who asks: principals, and the ACLs that each has."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from kwire.acls import Acl, Operation, PatternType, Permission, ResourceType
from kwire.security.acl_text import read_acls

ADMIN = "admin"
ANONYMOUS = "ANONYMOUS"


class Names(NamedTuple):
    """Names in the questions of a principal: a topic with ACLs and one without, a group, a transactional id."""

    principal: str
    topic: str
    hidden: str
    missing: str
    hidden_missing: str
    group: str
    transaction: str
    unknown_user: str  # a user who never logs in: ACLs, quotas, credentials and tokens in requests are of it


def names_of(principal: str) -> Names:
    """What a principal has ACLs for begins with ``m-``, what it has none for with ``x-``."""
    own, other = f"m-{principal}", f"x-{principal}"
    return Names(
        principal, f"{own}-t", f"{other}-t", f"{own}-none", f"{other}-none", f"{own}-g", f"{own}-x",
        f"unknown-{principal}",
    )  # fmt: skip


@dataclass(frozen=True)
class Principal:
    """``rules`` are sentences in which TOPIC, GROUP and TXN are the principal's own names, USER its unknown user.

    ``by_token``: it logs in with a delegation token.
    """

    name: str
    rules: tuple[str, ...] = ()
    by_token: bool = False

    @property
    def names(self) -> Names:
        return names_of(self.name)

    def acls(self) -> list[Acl]:
        words = {
            "TOPIC": f"topic {self.names.topic}",
            "GROUP": f"group {self.names.group}",
            "TXN": f"transactional-id {self.names.transaction}",
            "PREFIX": f"topic m-{self.name}-*",
            "USER": f"user User:{self.names.unknown_user}",
        }
        acls: list[Acl] = []
        for rule in self.rules:
            sentence = rule
            for word, resource in words.items():
                sentence = sentence.replace(word, resource)
            acls += read_acls(f"{self.name} {sentence}")
        return acls


TOPIC_OPERATIONS = ("read", "write", "create", "delete", "alter", "describe", "describe-configs", "alter-configs")
GROUP_OPERATIONS = ("read", "delete", "describe", "describe-configs", "alter-configs")
TXN_OPERATIONS = ("write", "describe")
USER_OPERATIONS = ("create-tokens", "describe-tokens")
CLUSTER_OPERATIONS = (
    "create", "delete", "alter", "describe", "cluster-action", "describe-configs", "alter-configs", "idempotent-write",
)  # fmt: skip

PRINCIPALS = (
    Principal(ANONYMOUS),
    Principal(ADMIN),
    Principal("nothing"),
    Principal("owner", ("may all TOPIC", "may all GROUP", "may all TXN", "may all cluster")),
    Principal("reader", ("may read TOPIC", "may read GROUP")),
    Principal("writer", ("may write,create TOPIC", "may write TXN", "may idempotent-write cluster")),
    Principal("prefixed", ("may all PREFIX", "may all group m-prefixed-*", "may all transactional-id m-prefixed-*")),
    Principal("wild", ("may all topic *", "may all group *", "may all transactional-id *")),
    Principal("denied", ("may all topic *", "may all group *", "may not all TOPIC", "may not read,describe GROUP")),
    Principal(
        "elsewhere",
        (
            "may all TOPIC", "may all GROUP", "may all cluster", "may all TXN", "may not all TOPIC from 127.0.0.1",
            "may not all GROUP from 127.0.0.1", "may not all cluster from 127.0.0.1",
        ),
    ),
    Principal(
        "network",
        (
            "may all TOPIC from 127.0.0.0/8", "may all GROUP", "may not all GROUP from 126.0.0.0/7",
            "may all TXN from ::/0",
        ),
    ),
    Principal("token", ("may all TOPIC", "may read GROUP", "may write TXN", "may create cluster"), by_token=True),
    *(Principal(f"t-{each}", (f"may {each} TOPIC",)) for each in TOPIC_OPERATIONS),
    *(Principal(f"g-{each}", (f"may {each} GROUP", "may describe TOPIC")) for each in GROUP_OPERATIONS),
    *(Principal(f"c-{each}", (f"may {each} cluster",)) for each in CLUSTER_OPERATIONS),
    *(Principal(f"x-{each}", (f"may {each} TXN", "may write TOPIC", "may read GROUP")) for each in TXN_OPERATIONS),
    *(Principal(f"u-{each}", (f"may {each} USER",)) for each in USER_OPERATIONS),
    Principal("d-describe", ("may describe delegation-token *",)),
)  # fmt: skip
PASSWORD = "secret"


def creations(principal: Principal) -> list[dict[str, Any]]:
    """The ACLs of a principal as CreateAcls takes them."""
    return list(map(_creation, principal.acls()))


def one_acl(principal: str, topic: str) -> dict[str, Any]:
    """The ACL by which a user may read a topic, as CreateAcls takes it."""
    literal = PatternType.LITERAL
    return _creation(
        Acl(ResourceType.TOPIC, topic, literal, f"User:{principal}", "*", Operation.READ, Permission.ALLOW)
    )


def _creation(acl: Acl) -> dict[str, Any]:
    return {
        "resourceType": int(acl.resource_type),
        "resourceName": acl.resource_name,
        "resourcePatternType": int(acl.pattern_type),
        "principal": acl.principal,
        "host": acl.host,
        "operation": int(acl.operation),
        "permissionType": int(acl.permission),
    }
