"""ACLs of a cluster: the requests behind `kafka-acls` and `kwire acls`.

Responsible for: DescribeAcls, CreateAcls and DeleteAcls. Must not depend on: how ACLs are written or printed.
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.acls import Acl, AclFilter, Operation, PatternType, Permission, ResourceType
from kwire.cli.connections.client import Cluster, check
from kwire.wire.messages import (
    CreateAclsRequest,
    CreateAclsResponse,
    DeleteAclsRequest,
    DeleteAclsResponse,
    DescribeAclsRequest,
    DescribeAclsResponse,
)


def describe_acls(cluster: Cluster, wanted: AclFilter) -> list[Acl]:
    """Return the ACLs that a filter selects. Raises KafkaError."""
    request = DescribeAclsRequest(
        resource_type_filter=wanted.resource_type,
        resource_name_filter=wanted.resource_name,
        pattern_type_filter=wanted.pattern_type,
        principal_filter=wanted.principal,
        host_filter=wanted.host,
        operation=wanted.operation,
        permission_type=wanted.permission,
    )

    def attempt() -> list[Acl]:
        answer = cluster.call(request, DescribeAclsResponse)
        check(answer.error_code, answer.error_message)
        return [
            Acl(
                ResourceType(resource.resource_type),
                resource.resource_name,
                PatternType(resource.pattern_type),
                acl.principal,
                acl.host,
                Operation(acl.operation),
                Permission(acl.permission_type),
            )
            for resource in answer.resources
            for acl in resource.acls
        ]

    return cluster.with_retries(attempt)


def create_acls(cluster: Cluster, acls: Sequence[Acl]) -> None:
    """Create ACLs. Raises KafkaError for the first that is refused; the others are created all the same."""
    request = CreateAclsRequest(
        creations=[
            CreateAclsRequest.AclCreation(
                resource_type=acl.resource_type,
                resource_name=acl.resource_name,
                resource_pattern_type=acl.pattern_type,
                principal=acl.principal,
                host=acl.host,
                operation=acl.operation,
                permission_type=acl.permission,
            )
            for acl in acls
        ]
    )

    def attempt() -> None:
        for result in cluster.call_controller(request, CreateAclsResponse).results:
            check(result.error_code, result.error_message)

    cluster.with_retries(attempt)


def delete_acls(cluster: Cluster, filters: Sequence[AclFilter]) -> list[Acl]:
    """Delete the ACLs that any of the filters selects, and return them, each once. Raises KafkaError."""
    request = DeleteAclsRequest(
        filters=[
            DeleteAclsRequest.DeleteAclsFilter(
                resource_type_filter=wanted.resource_type,
                resource_name_filter=wanted.resource_name,
                pattern_type_filter=wanted.pattern_type,
                principal_filter=wanted.principal,
                host_filter=wanted.host,
                operation=wanted.operation,
                permission_type=wanted.permission,
            )
            for wanted in filters
        ]
    )

    def attempt() -> list[Acl]:
        deleted: dict[Acl, None] = {}
        for result in cluster.call_controller(request, DeleteAclsResponse).filter_results:
            check(result.error_code, result.error_message)
            for acl in result.matching_acls:
                check(acl.error_code, acl.error_message)
                deleted[
                    Acl(
                        ResourceType(acl.resource_type),
                        acl.resource_name,
                        PatternType(acl.pattern_type),
                        acl.principal,
                        acl.host,
                        Operation(acl.operation),
                        Permission(acl.permission_type),
                    )
                ] = None
        return list(deleted)

    return cluster.with_retries(attempt)
