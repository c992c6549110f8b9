"""Certificates of a test's broker, as files for its clients.

Responsible for: an authority of this broker alone, the broker's certificate, a client's, and their files. Must not
depend on: the broker.
"""

from __future__ import annotations

import shutil
import ssl
import tempfile
import weakref
from datetime import UTC, datetime
from pathlib import Path

from kwire.security.tls.development import LOCAL_HOSTS, make_authority


class Certificates:
    """PEM files in a temporary directory, which is deleted with this object."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="kwire-certs-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        now = datetime.now(UTC)
        authority = make_authority("kwire test authority", now=now)
        self.authority = folder / "ca.pem"
        self.client = folder / "client.pem"
        self._server = folder / "server.pem"
        self.authority.write_text(authority.certificate_pem)
        self.client.write_text(authority.issue("client", now=now).pem)
        self._server.write_text(authority.issue("localhost", hosts=LOCAL_HOSTS, now=now).pem)

    @property
    def settings(self) -> dict[str, str]:
        """The broker's settings."""
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
            "ssl.client.auth": "requested",
        }

    def context(self) -> ssl.SSLContext:
        """The context of a client that trusts the broker and shows the client's certificate."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.client)
        return context
