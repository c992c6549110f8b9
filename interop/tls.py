"""A broker with TLS listeners beside its plain one, and the certificates of its clients."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from interop.brokers import Apache, Kwire, free_port
from kwire.security.tls.development import LOCAL_HOSTS, Authority, make_authority

LISTENERS = ("SSL", "MUTUAL")


class Certificates:
    """PEM files of an authority, a broker and clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._now = datetime.now(UTC)
        self.authority = make_authority("interop authority", now=self._now)
        self.ca = self._write("ca", self.authority.certificate_pem)
        self.server = self._write("server", self.issue("localhost"))
        self.client = self._write("client", self.authority.issue("interop", now=self._now).pem)

    def issue(self, name: str, authority: Authority | None = None, *, hours: float = 24, hosts=LOCAL_HOSTS) -> str:
        """Key and certificate as one PEM text."""
        issuer = authority or self.authority
        return issuer.issue(name, hosts=hosts, now=self._now, valid=timedelta(hours=hours)).pem

    def write(self, name: str, content: str) -> Path:
        return self._write(name, content)

    def _write(self, name: str, content: str) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_text(content)
        return path

    def environment(self, *, own: bool, protocol: str = "SSL") -> dict[str, str]:
        """What the client programs read; ``own``: they show a certificate."""
        chosen = {"protocol": protocol, "ca": str(self.ca)}
        if own:
            chosen |= {"certificate": str(self.client), "key": str(self.client)}
        return {"CLIENT_SECURITY": json.dumps({key: chosen[key] for key in chosen})}

    def properties(self, *, own: bool, **more: str) -> Path:
        """A file of a Java client's settings."""
        texts = {"security.protocol": "SSL", "ssl.truststore.type": "PEM", "ssl.truststore.location": str(self.ca)}
        if own:
            texts |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(self.client)}
        texts |= {name.replace("_", "."): value for name, value in more.items()}
        path = self.folder / f"client-{'own' if own else 'none'}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in texts.items()))
        return path


def key_stores(certificates: Certificates) -> dict[str, str]:
    """The settings of a broker with these certificates."""
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
    }


def add_tls(
    broker: Kwire | Apache, certificates: Certificates, more: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Give a broker that is not started yet a TLS listener, and one that requires certificates; returns their ports."""
    ports = {name: free_port() for name in LISTENERS}
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **dict.fromkeys(LISTENERS, "SSL")}
    broker.settings |= {
        **key_stores(certificates),
        "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
        "listener.name.mutual.ssl.client.auth": "required",
        **(more or {}),
    }
    broker.more_listeners += [f"{name}://localhost:{port}" for name, port in ports.items()]
    return ports
