"""``kwire serve --secure``: certificates, a listener with TLS and login, and a first user.

Responsible for: what ``--secure`` adds to the settings, its files, and the user of the first start. Must not depend on:
how settings are gathered, how a broker starts.

The certificates are made once, in a directory beside the data. ACLs authorize; super users are the user of the first
start and the users of ``--user``. That user is made when no super user may log in: its password is random, printed
once, and stored as SCRAM credentials; ``admin.properties`` beside the certificates, which only its owner may read, has
it for ``--config`` and ``--command-config``.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER, read_authorizer

if TYPE_CHECKING:
    from kwire.metadata.configs.effective import EffectiveConfigs
    from kwire.server.lifecycle import Server

PROTOCOL: Final = "SASL_SSL"
USER: Final = "admin"
_USER_TYPE: Final = "User:"
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256")
_PASSWORD_BYTES: Final = 18
_HOST: Final = re.compile(r"(?:://|^)(?:\[([^\]]+)\]|([^:/\[\]]*)):\d+$")


class Secure:
    """The files of ``--secure`` in ``folder``, and the settings that name them. ``users`` are those of ``--user``."""

    def __init__(self, folder: Path, urls: Sequence[str], users: Sequence[str] = ()) -> None:
        """Make missing files; ``urls`` are the listeners and advertised listeners. Raises OSError, ValueError."""
        from kwire.cli.serving.certs import write_certificates

        self.folder = folder.absolute()
        self._super_users = (USER, *users)
        if not (self.folder / "server.pem").exists():
            write_certificates(self.folder, _hosts(urls), (), files=False)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of --secure, which other settings override."""
        return {
            "kwire.require.login": "true",
            "authorizer.class.name": STANDARD_AUTHORIZER,
            "super.users": ";".join(f"User:{user}" for user in self._super_users),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "server.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.folder / "ca.pem"),
        }

    async def make_first_user(self, server: Server) -> list[str]:
        """Make the user if there is none; returns lines that tell its password, which is shown only now."""
        from kwire.server.initial_users import store_users
        from kwire.testing.client_properties import write_client_properties

        broker = server.broker
        super_users = _super_users(broker.configs)
        if any(user in super_users or not super_users for user, _ in broker.image.scram):
            return []
        user = USER if USER in super_users or not super_users else super_users[0]
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        for error in (await store_users(broker, {user: password})).values():
            raise error
        path = self.folder / "admin.properties"
        write_client_properties(path, user, password, self.folder / "ca.pem")
        return [
            f"user {user} with password {password} (shown this once; clients use SASL_SSL and SCRAM-SHA-512)",
            f"client settings with this password: {path}; the authority: {self.folder / 'ca.pem'}",
        ]


def folder_for(data: str | None, *, memory: bool) -> Path:
    """Return the directory of the certificates: beside that of the data."""
    return Path("kwire-certs") if memory or data is None else Path(data).absolute().parent / "kwire-certs"


def _super_users(configs: EffectiveConfigs) -> list[str]:
    """Return the names of super users; none without an authorizer."""
    settings = read_authorizer(configs)
    principals = () if settings is None else sorted(settings.super_users)
    return [principal.removeprefix(_USER_TYPE) for principal in principals if principal.startswith(_USER_TYPE)]


def _hosts(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the hosts that clients may use, as far as the command line says."""
    hosts = []
    for url in urls:
        match = _HOST.search(url.strip())
        host = (match[1] or match[2] or "") if match else ""
        wildcard = match is not None and host in {"", "0.0.0.0", "::"}  # noqa: S104 (compared with)
        if wildcard:
            hosts.append(socket.gethostname())
        elif host:
            hosts.append(host)
    return tuple(hosts)
