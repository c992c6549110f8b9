"""Who asks: principals, and the ACLs that each has."""

from dataclasses import dataclass, field
from typing import Any

from kwire.acls import Acl, Operation, PatternType, Permission, ResourceType
from kwire.security.acl_text import read_acls

ADMIN = "admin"
ANONYMOUS = "ANONYMOUS"


@dataclass(frozen=True)
class Names:
    """Names in the questions of a principal: a topic with ACLs and one without, a group, a transactional id."""

    principal: str

    @property
    def topic(self) -> str:
        return f"m-{self.principal}-t"

    @property
    def hidden(self) -> str:
        return f"x-{self.principal}-t"

    @property
    def missing(self) -> str:
        return f"m-{self.principal}-none"

    @property
    def hidden_missing(self) -> str:
        return f"x-{self.principal}-none"

    @property
    def group(self) -> str:
        return f"m-{self.principal}-g"

    @property
    def transaction(self) -> str:
        return f"m-{self.principal}-x"

    @property
    def unknown_user(self) -> str:
        """A user who never logs in: ACLs, quotas and credentials in requests are of it."""
        return f"unknown-{self.principal}"


@dataclass(frozen=True)
class Principal:
    """``rules`` are sentences in which TOPIC, GROUP and TXN stand for the principal's own names."""

    name: str
    rules: tuple[str, ...] = ()
    names: Names = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", Names(self.name))

    def acls(self) -> list[Acl]:
        words = {
            "TOPIC": f"topic {self.names.topic}",
            "GROUP": f"group {self.names.group}",
            "TXN": f"transactional-id {self.names.transaction}",
            "PREFIX": f"topic m-{self.name}-*",
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
    *(Principal(f"t-{each}", (f"may {each} TOPIC",)) for each in TOPIC_OPERATIONS),
    *(Principal(f"g-{each}", (f"may {each} GROUP", "may describe TOPIC")) for each in GROUP_OPERATIONS),
    *(Principal(f"c-{each}", (f"may {each} cluster",)) for each in CLUSTER_OPERATIONS),
    *(Principal(f"x-{each}", (f"may {each} TXN", "may write TOPIC", "may read GROUP")) for each in TXN_OPERATIONS),
)  # fmt: skip
PASSWORD = "secret"


def creations(principal: Principal) -> list[dict[str, Any]]:
    """The ACLs of a principal as CreateAcls takes them."""
    return [
        {
            "resourceType": int(acl.resource_type),
            "resourceName": acl.resource_name,
            "resourcePatternType": int(acl.pattern_type),
            "principal": acl.principal,
            "host": acl.host,
            "operation": int(acl.operation),
            "permissionType": int(acl.permission),
        }
        for acl in principal.acls()
    ]


def one_acl(principal: str, topic: str) -> dict[str, Any]:
    acl = Acl(
        ResourceType.TOPIC, topic, PatternType.LITERAL, f"User:{principal}", "*", Operation.READ, Permission.ALLOW
    )
    return {
        "resourceType": int(acl.resource_type),
        "resourceName": acl.resource_name,
        "resourcePatternType": int(acl.pattern_type),
        "principal": acl.principal,
        "host": acl.host,
        "operation": int(acl.operation),
        "permissionType": int(acl.permission),
    }
