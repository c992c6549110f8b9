"""Certificates for development and tests: an authority, and the certificates that it issues to brokers and clients.

Responsible for: keys and certificates as values. Must not depend on: files, clocks (``now`` is given).

Keys are elliptic (P-256): every client of Kafka supports them, they are made in a millisecond, and a handshake costs a
tenth of what it does with RSA.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class Issued(NamedTuple):
    """A key with its certificate, issued by an authority."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The key as PKCS#8, not encrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def pem(self) -> str:
        """Key and certificate, as a PEM key store has them."""
        return self.key_pem + self.certificate_pem

    def encrypted_key_pem(self, password: str) -> str:
        """The key as PKCS#8, encrypted."""
        encryption = BestAvailableEncryption(password.encode())
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


class Authority(Issued):
    """A key whose certificate may sign others."""

    def issue(
        self,
        name: str | x509.Name,
        *,
        hosts: Sequence[str] = (),
        now: datetime,
        valid: timedelta = timedelta(days=825),
        usage: x509.ObjectIdentifier | None = None,
    ) -> Issued:
        """Issue a certificate to a common name or full name; with ``hosts`` it is one for a broker.

        ``usage`` is what the key may be used for, by default both ends of TLS.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH] if usage is None else [usage]
        builder = _builder(_name(name), self.certificate.subject, key, now, valid)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys(hosts)])
            builder = builder.add_extension(names, critical=False)
        return Issued(key, builder.sign(self.key, hashes.SHA256()))


def make_authority(name: str, *, now: datetime, valid: timedelta = timedelta(days=3650)) -> Authority:
    """Make an authority that signs its own certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key, now, valid)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(
        x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        ),
        critical=True,
    )
    return Authority(key, builder.sign(key, hashes.SHA256()))


def read_authority(key_pem: bytes, certificate_pem: bytes) -> Authority:
    """Read an authority that was made before. Raises ValueError."""
    key = load_pem_private_key(key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("its key is not one that kwire certs makes")  # noqa: TRY004 (the file, not a caller, is wrong)
    return Authority(key, x509.load_pem_x509_certificate(certificate_pem))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, valid: timedelta
) -> x509.CertificateBuilder:
    # A day back, for a client whose clock is behind.
    begin = now - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(name: str | x509.Name) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) if isinstance(name, str) else name


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
