"""kafka-acls: list, add and remove ACLs.

Responsible for: the flags, checks and output of the official script. Must not depend on: the wire.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from kwire.acls import CLUSTER_NAME, Acl, AclFilter, Operation, PatternType, Permission, ResourceType
from kwire.cli.admin import acls as admin
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Parsed, parse
from kwire.cli.script_twins.common import bootstrap_of, open_cluster
from kwire.errors import KafkaError

NAME: Final = "kafka-acls"
ABOUT: Final = "List, add and remove ACLs."

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    Option("bootstrap-controller", "Controllers to ask instead of brokers.", "HOST:PORT"),
    Option("add", "Add ACLs."),
    Option("remove", "Remove ACLs."),
    Option("list", "List ACLs, of the resources that are named or of all."),
    Option("topic", "A topic; * is every topic.", "TOPIC", many=True),
    Option("group", "A consumer group; * is every group.", "GROUP", many=True),
    Option("cluster", "The cluster."),
    Option("transactional-id", "A transactional id; * is every one.", "ID", many=True),
    Option("delegation-token", "A delegation token; * is every one.", "TOKEN", many=True),
    Option("user-principal", "A user whose tokens may be created or described.", "PRINCIPAL", many=True),
    Option(
        "resource-pattern-type",
        "How names match: literal or prefixed; to list or remove also any, or match (every ACL that applies).",
        "ANY|MATCH|LITERAL|PREFIXED",
        default="LITERAL",
    ),
    Option("operation", "An operation to allow or deny.", "OPERATION", many=True, default="All"),
    Option("allow-principal", "The principal to allow: User:alice; User:* is every user.", "PRINCIPAL", many=True),
    Option("deny-principal", "The principal to deny; this counts more than what is allowed.", "PRINCIPAL", many=True),
    Option("allow-host", "From which address it is allowed.", "HOST", many=True),
    Option("deny-host", "From which address it is denied.", "HOST", many=True),
    Option("principal", "List the ACLs of this principal.", "PRINCIPAL", many=True, optional_value=True),
    Option("producer", "What a producer needs: Write, Describe and Create on the topics."),
    Option("consumer", "What a consumer needs: Read and Describe on the topics, Read on the groups."),
    Option("idempotent", "With --producer: IdempotentWrite on the cluster too."),
    Option("force", "Do not ask before ACLs are removed."),
)

_RESOURCES: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
    "delegation-token": ResourceType.DELEGATION_TOKEN,
    "user-principal": ResourceType.USER,
}
_SUPPORTED: Final[Mapping[ResourceType, tuple[Operation, ...]]] = {
    ResourceType.TOPIC: (
        Operation.READ,
        Operation.WRITE,
        Operation.CREATE,
        Operation.DESCRIBE,
        Operation.DELETE,
        Operation.ALTER,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
    ),
    ResourceType.GROUP: (
        Operation.READ,
        Operation.DESCRIBE,
        Operation.DELETE,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
    ),
    ResourceType.CLUSTER: (
        Operation.CREATE,
        Operation.CLUSTER_ACTION,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
        Operation.IDEMPOTENT_WRITE,
        Operation.ALTER,
        Operation.DESCRIBE,
    ),
    ResourceType.TRANSACTIONAL_ID: (Operation.DESCRIBE, Operation.WRITE),
    ResourceType.DELEGATION_TOKEN: (Operation.DESCRIBE,),
    ResourceType.USER: (Operation.CREATE_TOKENS, Operation.DESCRIBE_TOKENS),
}


class Resource(NamedTuple):
    """The resources that a line names. ``str()`` is what Java prints."""

    kind: ResourceType
    name: str
    pattern: PatternType

    def __str__(self) -> str:
        return f"ResourcePattern(resourceType={self.kind.name}, name={self.name}, patternType={self.pattern.name})"


class Entry(NamedTuple):
    """Principal, host, operation and permission of an ACL. ``str()`` is what Java prints."""

    principal: str
    host: str
    operation: Operation
    permission: Permission

    def __str__(self) -> str:
        return (
            f"(principal={self.principal}, host={self.host}, operation={self.operation.name},"
            f" permissionType={self.permission.name})"
        )


_CLUSTER: Final = Resource(ResourceType.CLUSTER, CLUSTER_NAME, PatternType.LITERAL)


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    _check(parsed)
    try:
        if parsed.has("add"):
            _add(parsed)
        elif parsed.has("remove"):
            _remove(parsed)
        else:
            _list(parsed)
    except KafkaError as error:
        message = f"Error while executing ACL command: {error_line(error)}"
        raise Failure(message, stream="out") from error
    except ClientError as error:
        raise Failure(f"Error while executing ACL command: {error}", stream="out") from error
    return 0


def _check(parsed: Parsed) -> None:
    """Refuse invalid combinations, with the official messages and order."""
    servers = parsed.count(("bootstrap-server", "bootstrap-controller"))
    if servers == 2:
        parsed.refuse("Only one of --bootstrap-server or --bootstrap-controller must be specified")
    if servers == 0:
        parsed.refuse("One of --bootstrap-server or --bootstrap-controller must be specified")
    if parsed.count(("add", "remove", "list")) != 1:
        parsed.refuse("Command must include exactly one action: --list, --add, --remove. ")
    parsed.forbid("list", ("producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"))
    for role in ("producer", "consumer"):
        parsed.forbid(role, ("operation", "deny-principal", "deny-host"))
    if parsed.has("principal") and not parsed.has("list"):
        parsed.refuse("The --principal option is only available if --list is set")
    if parsed.has("producer") and not parsed.has("topic"):
        parsed.refuse("With --producer you must specify a --topic")
    if parsed.has("idempotent") and not parsed.has("producer"):
        parsed.refuse("The --idempotent option is only available if --producer is set")
    if parsed.has("consumer"):
        needed = parsed.has("topic") and parsed.has("group")
        excluded = not parsed.has("producer") and (parsed.has("cluster") or parsed.has("transactional-id"))
        if not needed or excluded:
            parsed.refuse(
                "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option"
                " should be specified."
            )
    _pattern(parsed)


def _pattern(parsed: Parsed) -> PatternType:
    text = parsed.text("resource-pattern-type")
    try:
        found = PatternType[text.upper()]
    except KeyError:
        found = PatternType.UNKNOWN
    if found is PatternType.UNKNOWN:
        message = f"Error while executing ACL command: Cannot parse argument '{text}' of option resource-pattern-type"
        raise Failure(message, stream="out")
    return found


def _cluster(parsed: Parsed) -> Cluster:
    return open_cluster(parsed, NAME, bootstrap_of(parsed) or parsed.value("bootstrap-controller"))


def _add(parsed: Parsed) -> None:
    pattern = _pattern(parsed)
    if pattern not in (PatternType.LITERAL, PatternType.PREFIXED):
        parsed.refuse(f"A '--resource-pattern-type' value of '{pattern.name}' is not valid when adding acls.")
    wanted = _entries(parsed)
    if not all(wanted.values()):
        parsed.refuse("You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.")
    with _cluster(parsed) as cluster:
        for resource, entries in wanted.items():
            there = set(admin.describe_acls(cluster, AclFilter(*_fields(resource))))
            missing = [entry for entry in entries if _acl(resource, entry) not in there]
            for entry in entries:
                if entry not in missing:
                    _print_line(f"Acl (pattern={resource}, entry={entry}) already exists.")
            if missing:
                _print_line(f"Adding ACLs for resource `{resource}`: \n {_lines(missing)} \n")
                admin.create_acls(cluster, [_acl(resource, entry) for entry in missing])


def _remove(parsed: Parsed) -> None:
    with _cluster(parsed) as cluster:
        for resource, entries in _entries(parsed).items():
            question = (
                f"Are you sure you want to remove ACLs: \n {_lines(entries)} \n from resource filter `{resource}`?"
                if entries
                else f"Are you sure you want to delete all ACLs for resource filter `{resource}`?"
            )
            if not _confirmed(parsed, f"{question} (y/n)"):
                continue
            exactly = [AclFilter.exactly(_acl(resource, entry)) for entry in entries]
            admin.delete_acls(cluster, exactly or [AclFilter(*_fields(resource))])


def _list(parsed: Parsed) -> None:
    filters = [AclFilter(*_fields(one)) for one in _resources(parsed, required=False)] or [AclFilter()]
    principals = _principals(parsed, "principal")
    found: dict[Resource, dict[Entry, None]] = {}
    with _cluster(parsed) as cluster:
        for wanted in filters:
            for acl in admin.describe_acls(cluster, wanted):
                found.setdefault(Resource(*acl[:3]), {})[Entry(*acl[3:])] = None
    if not principals:
        _print(found)
    for principal in principals:
        _print_line(f"ACLs for principal `{principal}`")
        _print(
            {
                resource: of_principal
                for resource, entries in found.items()
                if (of_principal := [entry for entry in entries if entry.principal == principal])
            }
        )


def _print(found: Mapping[Resource, Iterable[Entry]]) -> None:
    for resource, entries in found.items():
        _print_line(f"Current ACLs for resource `{resource}`: \n {_lines(entries)} \n")


def _lines(entries: Iterable[Entry]) -> str:
    return "\n".join(f"\t{entry}" for entry in entries)


def _fields(resource: Resource) -> tuple[ResourceType, str, PatternType]:
    return resource.kind, resource.name, resource.pattern


def _acl(resource: Resource, entry: Entry) -> Acl:
    return Acl(*_fields(resource), entry.principal, entry.host, entry.operation, entry.permission)


def _entries(parsed: Parsed) -> dict[Resource, list[Entry]]:
    """Return the entries of the command line by resource."""
    found: dict[Resource, list[Entry]] = {}
    if not parsed.has("producer") and not parsed.has("consumer"):
        entries = _of(parsed, [_operation(text) for text in parsed.values("operation")])
        found = dict.fromkeys(_resources(parsed), entries)
    if parsed.has("producer"):
        operations = [Operation.WRITE, Operation.DESCRIBE, Operation.CREATE]
        for resource in _resources(parsed):
            if resource.kind is ResourceType.TOPIC:
                found[resource] = _of(parsed, operations)
            elif resource.kind is ResourceType.TRANSACTIONAL_ID:
                found[resource] = _of(parsed, operations[:2])
        if parsed.has("idempotent"):
            found[_CLUSTER] = _of(parsed, [Operation.IDEMPOTENT_WRITE])
    if parsed.has("consumer"):
        for resource in _resources(parsed):
            if resource.kind in (ResourceType.TOPIC, ResourceType.GROUP):
                operations = [Operation.READ, Operation.DESCRIBE][: 1 + (resource.kind is ResourceType.TOPIC)]
                found[resource] = list(dict.fromkeys([*_of(parsed, operations), *found.get(resource, [])]))
    for resource, entries in found.items():
        supported = (*_SUPPORTED[resource.kind], Operation.ALL)
        if any(entry.operation not in supported for entry in entries):
            names = ", ".join(_name(operation) for operation in supported)
            parsed.refuse(f"ResourceType {resource.kind.name} only supports operations {names}")
    return found


def _of(parsed: Parsed, operations: Iterable[Operation]) -> list[Entry]:
    wanted = list(dict.fromkeys(operations))
    return [
        Entry(principal, host, operation, permission)
        for permission, who, where in (
            (Permission.ALLOW, "allow-principal", "allow-host"),
            (Permission.DENY, "deny-principal", "deny-host"),
        )
        for principal in _principals(parsed, who)
        for operation in wanted
        for host in dict.fromkeys(value.strip() for value in parsed.values(where) or ["*"])
    ]


def _operation(text: str) -> Operation:
    name = text.strip().replace("_", "").replace("-", "").upper()
    return next((each for each in Operation if each.name.replace("_", "") == name), Operation.UNKNOWN)


def _name(operation: Operation) -> str:
    return "".join(word.capitalize() for word in operation.name.split("_"))


def _principals(parsed: Parsed, option: str) -> list[str]:
    principals = [value.strip() for value in parsed.values(option)]
    for principal in principals:
        if ":" not in principal:
            message = f"expected a string in format principalType:principalName but got {principal}"
            raise Failure(f"Error while executing ACL command: {message}", stream="out")
    return list(dict.fromkeys(principals))


def _resources(parsed: Parsed, *, required: bool = True) -> list[Resource]:
    pattern = _pattern(parsed)
    found = [
        Resource(kind, name if kind is ResourceType.TRANSACTIONAL_ID else name.strip(), pattern)
        for option, kind in _RESOURCES.items()
        for name in parsed.values(option)
    ]
    if pattern is PatternType.LITERAL and (parsed.has("cluster") or parsed.has("idempotent")):
        found.append(_CLUSTER)
    if not found and required:
        parsed.refuse(
            "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or"
            " --delegation-token <Delegation Token ID>"
        )
    return list(dict.fromkeys(found))


def _confirmed(parsed: Parsed, question: str) -> bool:
    if parsed.has("force"):
        return True
    _print_line(question)
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def _print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
