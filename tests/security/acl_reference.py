"""The rules of Kafka's StandardAuthorizer, written down as plainly as possible: every ACL is looked at.

decide       KIP-11, KIP-290 (prefixed ACLs)
decide_any   KIP-679
is_from      KIP-1276 (networks)
"""

from ipaddress import ip_address, ip_network

from kwire.acls import Operation as Op
from kwire.acls import PatternType, Permission

IMPLIES = {
    Op.DESCRIBE: {Op.DESCRIBE, Op.READ, Op.WRITE, Op.DELETE, Op.ALTER},
    Op.DESCRIBE_CONFIGS: {Op.DESCRIBE_CONFIGS, Op.ALTER_CONFIGS},
}


def is_about(acl, kind, name):
    if acl.resource_type != kind:
        return False
    if acl.pattern_type == PatternType.PREFIXED:
        return name.startswith(acl.resource_name)
    return acl.resource_name in ("*", name)


def is_for(acl, principal, host):
    return acl.principal in ("User:*", principal) and is_from(acl.host, host)


def is_from(pattern, host):
    if "/" in pattern:
        return ip_address(host) in ip_network(pattern, strict=False)
    return pattern in ("*", host)


def covers(acl, operation):
    if acl.operation == Op.ALL:
        return True
    if acl.permission == Permission.ALLOW:
        return acl.operation in IMPLIES.get(operation, {operation})
    return acl.operation == operation


def decide(acls, principal, host, operation, resource, *, super_users=(), allow_unlisted=False):
    kind, name = resource
    if principal in super_users:
        return True
    about = [acl for acl in acls if is_about(acl, kind, name)]
    if not about:
        return allow_unlisted
    matching = [acl for acl in about if is_for(acl, principal, host) and covers(acl, operation)]
    if any(acl.permission == Permission.DENY for acl in matching):
        return False
    return bool(matching)


def decide_any(acls, principal, host, operation, kind, *, super_users=(), allow_unlisted=False):
    asked = {"super_users": super_users, "allow_unlisted": allow_unlisted}
    if decide(acls, principal, host, operation, (kind, "hardcode"), **asked):
        return True
    relevant = [
        acl
        for acl in acls
        if acl.resource_type == kind and is_for(acl, principal, host) and acl.operation in (operation, Op.ALL)
    ]
    denied = {(acl.pattern_type, acl.resource_name) for acl in relevant if acl.permission == Permission.DENY}
    allowed = {(acl.pattern_type, acl.resource_name) for acl in relevant if acl.permission == Permission.ALLOW}
    if (PatternType.LITERAL, "*") in denied:
        return False
    if (PatternType.LITERAL, "*") in allowed:
        return True
    for pattern, name in allowed:
        if pattern == PatternType.LITERAL and (pattern, name) in denied:
            continue
        if any((PatternType.PREFIXED, name[: index + 1]) in denied for index in range(len(name))):
            continue
        return True
    return False
