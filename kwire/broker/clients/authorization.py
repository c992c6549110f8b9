"""The authorizer of a broker, and how it follows the ACLs of the cluster.

Responsible for: making the authorizer that the settings name, from the ACLs of the image. Must not depend on: how a
decision is made, single requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import Delta, MetadataImage
from kwire.metadata.settings.authorizer import read_authorizer

if TYPE_CHECKING:  # most brokers have no authorizer
    from kwire.security.standard_authorizer import StandardAuthorizer


def make_authorizer(image: MetadataImage, configs: EffectiveConfigs) -> StandardAuthorizer | None:
    """Make the authorizer with the ACLs that exist; None for a broker without one. Raises ConfigProblem."""
    settings = read_authorizer(configs)
    if settings is None:
        return None
    from kwire.security.standard_authorizer import StandardAuthorizer  # noqa: PLC0415 (most brokers have none)

    return StandardAuthorizer(
        super_users=settings.super_users, allow_unlisted=settings.allow_unlisted, acls=image.acl_ids
    )


def follow_acls(authorizer: StandardAuthorizer, delta: Delta) -> None:
    """Apply a change of the cluster's ACLs, if it has any."""
    if delta.acls_created or delta.acls_deleted:
        authorizer.change(created=delta.acls_created, deleted=delta.acls_deleted)
