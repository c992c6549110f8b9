"""Certificates for tests: an authority, a broker's, clients', and what is wrong with each kind of bad one."""

from __future__ import annotations

import functools
import ssl
from datetime import UTC, datetime, timedelta

from cryptography.x509.oid import ExtendedKeyUsageOID

from kwire.security.tls.contexts import client_context, server_context
from kwire.security.tls.development import LOCAL_HOSTS, Authority, Issued, make_authority
from kwire.security.tls.settings import TlsSettings
from kwire.security.tls.stores import read_key_store

NOW = datetime.now(UTC)


@functools.cache
def authority() -> Authority:
    return make_authority("test authority", now=NOW)


@functools.cache
def untrusted() -> Authority:
    return make_authority("another authority", now=NOW)


@functools.cache
def server() -> Issued:
    return authority().issue("localhost", hosts=LOCAL_HOSTS, now=NOW)


@functools.cache
def client(name: str = "client") -> Issued:
    return authority().issue(name, now=NOW)


@functools.cache
def expired() -> Issued:
    return authority().issue("expired", hosts=LOCAL_HOSTS, now=NOW, valid=timedelta(hours=-1))


@functools.cache
def not_yet_valid() -> Issued:
    return authority().issue("early", hosts=LOCAL_HOSTS, now=NOW + timedelta(days=99))


@functools.cache
def of_another_authority() -> Issued:
    return untrusted().issue("untrusted", hosts=LOCAL_HOSTS, now=NOW)


@functools.cache
def for_servers_only() -> Issued:
    return authority().issue("server-only", now=NOW, usage=ExtendedKeyUsageOID.SERVER_AUTH)


@functools.cache
def for_another_host() -> Issued:
    return authority().issue("elsewhere", hosts=["elsewhere.example"], now=NOW)


def settings(issued: Issued | None = None, *, trusted: Authority | None = None, **others) -> TlsSettings:
    """The settings of a listener, or of a client, with these certificates as inline PEM."""
    own = {} if issued is None else {"keystore_key": issued.key_pem, "certificate_chain": issued.certificate_pem}
    return TlsSettings(
        **{
            "keystore_type": "PEM",
            "truststore_type": "PEM",
            "truststore_certificates": (trusted or authority()).certificate_pem,
            **own,
            **others,
        }
    )


def for_server(issued: Issued | None = None, **others) -> ssl.SSLContext:
    chosen = settings(issued or server(), **others)
    store = read_key_store(chosen, no_files)
    assert store is not None
    return server_context(chosen, store, no_files)


def for_client(issued: Issued | None = None, **others) -> ssl.SSLContext:
    return client_context(settings(issued, **others), no_files)


def no_files(path: str) -> bytes:
    raise AssertionError(f"a file is read: {path}")
