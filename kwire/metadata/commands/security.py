"""Commands on SCRAM credentials and ACLs.

Responsible for: the fields of each command. Must not depend on: how it is decided (``credentials``, ``acls``), the
metadata log, requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kwire.acls import Acl, AclFilter
from kwire.metadata.commands import Command, ControllerState
from kwire.metadata.decisions.acls import create_acls, delete_acls
from kwire.metadata.decisions.credentials import ScramDeletion, ScramUpsertion, alter_scram_credentials
from kwire.metadata.decisions.decision import Charge, Decision, Outcome


@dataclass(frozen=True)
class AlterUserScramCredentials(Command[Outcome]):
    """Store and delete SCRAM credentials; one result per deletion, then one per upsertion (KIP-554)."""

    deletions: Sequence[ScramDeletion]
    upsertions: Sequence[ScramUpsertion]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return alter_scram_credentials(state.image, self.deletions, self.upsertions)


@dataclass(frozen=True)
class CreateAcls(Command[Outcome]):
    """Create ACLs; one that exists already is accepted."""

    acls: Sequence[Acl]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return create_acls(state.image, self.acls, uuid=state.uuid)


@dataclass(frozen=True)
class DeleteAcls(Command[Sequence[Acl]]):
    """Delete the ACLs that filters select. A result has the ACLs that one filter selected."""

    filters: Sequence[AclFilter]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Sequence[Acl]]:
        del charge
        return delete_acls(state.image, self.filters)
