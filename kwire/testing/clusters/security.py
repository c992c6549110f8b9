"""What secures a local cluster: certificates of its nodes, ACLs, and users who log in.

Responsible for: the files in ``certs``, the settings that name them, and the users that a start stores. Must not depend
on: processes.

Nodes reach each other over TLS with certificates on both sides; the principal of broker 1 is User:CN=broker-1. Clients
use SASL_SSL with SCRAM. Super users are the nodes, this program itself (``CN=cluster``), and the users that the cluster
was created with. Users are stored over the listener of the nodes, so that no password is on a command line.

    certs/
      ca.pem, ca.key           the authority; clients trust ca.pem
      broker-1.pem, ...        key and certificate of each node
      cluster.pem              those of this program
      admin.properties         what a client needs to log in as the first user
"""

from __future__ import annotations

import os
import secrets
import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER
from kwire.security.sasl.scram_keys import ITERATIONS_MIN, RANDOM_BYTES, SCRAM_MECHANISMS, random_text, salted_password
from kwire.security.tls.development import LOCAL_HOSTS, make_authority
from kwire.testing.client_properties import write_client_properties
from kwire.testing.clusters.nodes import BROKER, CLIENTS, CONTROLLERS, NODES, ClusterError, ClusterNode
from kwire.testing.clusters.requests import ask
from kwire.wire.messages import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
)

USER: Final = "admin"

_OWN: Final = "cluster"
_USER: Final = "User:"
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_PASSWORD_BYTES: Final = 18
_STORED_S: Final = 30.0
_POLL_S: Final = 0.03


class ClusterSecurity:
    """The security of the cluster in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "certs"

    @property
    def ca_file(self) -> Path:
        """The certificate that clients must trust."""
        return self.folder / "ca.pem"

    @property
    def admin_properties(self) -> Path:
        """The settings of a client that logs in as the user that the first start made."""
        return self.folder / "admin.properties"

    def make_certificates(self, nodes: Sequence[ClusterNode]) -> None:
        """Make an authority, and what it issues to the nodes and to this program. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC)
        authority = make_authority("kwire cluster authority", now=now)
        texts = {"ca.key": authority.key_pem, "ca.pem": authority.certificate_pem}
        for node in nodes:
            texts[f"{node.folder_name}.pem"] = authority.issue(node.folder_name, hosts=LOCAL_HOSTS, now=now).pem
        texts[f"{_OWN}.pem"] = authority.issue(_OWN, now=now).pem
        for name, text in texts.items():
            mode = 0o600 if "PRIVATE KEY" in text else 0o644
            descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)

    def settings(
        self, node: ClusterNode, nodes: Sequence[ClusterNode], users: Collection[str], given: Mapping[str, str]
    ) -> dict[str, str]:
        """Give the settings of a node. ``given`` are those of the user: the nodes are super users beside theirs."""
        theirs = given.get("super.users") or ";".join(f"{_USER}{user}" for user in users or (USER,))
        texts = {
            "listener.security.protocol.map": f"{CLIENTS}:SASL_SSL,{NODES}:SSL,{CONTROLLERS}:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / f"{node.folder_name}.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
            f"listener.name.{CONTROLLERS.lower()}.ssl.client.auth": "required",
            "authorizer.class.name": STANDARD_AUTHORIZER,
        }
        if node.role == BROKER:
            texts |= {
                "inter.broker.listener.name": NODES,
                f"listener.name.{NODES.lower()}.ssl.client.auth": "required",
                "sasl.enabled.mechanisms": ",".join(SCRAM_MECHANISMS),
            }
            for mechanism in SCRAM_MECHANISMS:
                texts[f"listener.name.{CLIENTS.lower()}.{mechanism.lower()}.sasl.jaas.config"] = _SCRAM
        return {**texts, **given, "super.users": ";".join((theirs, *_principals(nodes)))}

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """The TLS context for requests of this program to nodes."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self.folder / f"{_OWN}.pem")
        return context

    def store_users(self, brokers: Sequence[ClusterNode], users: Mapping[str, str]) -> None:
        """Store a credential of each user for each mechanism; all brokers have it afterwards. Raises ClusterError."""
        for number in SCRAM_MECHANISMS.values():
            request = AlterUserScramCredentialsRequest(
                upsertions=[_upsertion(user, password, number) for user, password in users.items()]
            )
            for result in self._changed(brokers[0], request).results:
                if result.error_code:
                    why = result.error_message or result.error_code
                    raise ClusterError(f"cannot store the user {result.user}: {why}")
        self._wait_stored(brokers, users)

    def super_users(self, nodes: Sequence[ClusterNode], setting: str) -> list[str]:
        """Return the names of the users among super users that are no nodes."""
        principals = [one.strip() for one in setting.split(";")]
        users = [one for one in principals if one.startswith(_USER) and one not in _principals(nodes)]
        return [one.removeprefix(_USER) for one in users]

    def make_first_user(self, brokers: Sequence[ClusterNode], names: Sequence[str]) -> list[str]:
        """Make the first of these users if none of them may log in; returns lines that tell its password.

        Raises ClusterError.
        """
        if not names or self._stored(brokers[0]).intersection(names):
            return []
        user, password = names[0], secrets.token_urlsafe(_PASSWORD_BYTES)
        write_client_properties(self.admin_properties, user, password, self.ca_file)
        self.store_users(brokers, {user: password})
        return [
            f"user {user} with password {password} (shown this once; clients use SASL_SSL and SCRAM-SHA-512)",
            f"client settings with this password: {self.admin_properties}; the authority: {self.ca_file}",
        ]

    def _changed(
        self, broker: ClusterNode, request: AlterUserScramCredentialsRequest
    ) -> AlterUserScramCredentialsResponse:
        try:
            response = ask(broker.nodes_port, request, version=0, tls=self.tls, timeout_s=_STORED_S)
        except OSError as error:
            raise ClusterError(f"{broker.name} does not store the users: {error}") from error
        assert isinstance(response, AlterUserScramCredentialsResponse)
        return response

    def _stored(self, broker: ClusterNode) -> set[str]:
        """Ask a broker which users have credentials. Raises ClusterError."""
        try:
            response = ask(broker.nodes_port, DescribeUserScramCredentialsRequest(users=None), version=0, tls=self.tls)
        except OSError as error:
            raise ClusterError(f"{broker.name} does not tell its users: {error}") from error
        assert isinstance(response, DescribeUserScramCredentialsResponse)
        return {result.user for result in response.results}

    def _wait_stored(self, brokers: Sequence[ClusterNode], users: Collection[str]) -> None:
        deadline = time.monotonic() + _STORED_S
        for broker in brokers:
            while not self._stored(broker).issuperset(users):
                if time.monotonic() > deadline:
                    raise ClusterError(f"{broker.name} does not have the users after {_STORED_S:g} s")
                time.sleep(_POLL_S)


def _principals(nodes: Sequence[ClusterNode]) -> list[str]:
    return [f"{_USER}CN={name}" for name in (*(one.folder_name for one in nodes), _OWN)]


def _upsertion(user: str, password: str, mechanism: int) -> AlterUserScramCredentialsRequest.ScramCredentialUpsertion:
    salt = random_text(os.urandom(RANDOM_BYTES)).encode()
    return AlterUserScramCredentialsRequest.ScramCredentialUpsertion(
        name=user,
        mechanism=mechanism,
        iterations=ITERATIONS_MIN,
        salt=salt,
        salted_password=salted_password(mechanism, password, salt, ITERATIONS_MIN),
    )
