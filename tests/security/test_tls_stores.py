"""Key stores and trust stores: PEM and PKCS12, and why each bad one is refused."""

from __future__ import annotations

from pathlib import Path

import certificates
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from kwire.security.tls.settings import TlsProblem, TlsSettings
from kwire.security.tls.stores import read_key_store, read_trust_store


def files(**contents: bytes):
    def read(path: str) -> bytes:
        if path not in contents:
            raise FileNotFoundError(2, "No such file or directory", path)
        return contents[path]

    return read


def pkcs12(password: str = "secret", *, key: bool = True) -> bytes:
    issued, authority = certificates.server(), certificates.authority()
    return serialize_key_and_certificates(
        b"kafka",
        issued.key if key else None,
        issued.certificate if key else None,
        [authority.certificate],
        BestAvailableEncryption(password.encode()),
    )


def problem_of(read, settings: TlsSettings, **contents: bytes) -> TlsProblem:
    with pytest.raises(TlsProblem) as caught:
        read(settings, files(**contents))
    return caught.value


def test_a_pem_file_holds_key_and_certificates_in_any_order():
    issued = certificates.server()
    content = f"Bag Attributes\n{issued.certificate_pem}some text\n{issued.key_pem}".encode()
    store = read_key_store(TlsSettings(keystore_type="PEM", keystore_location="k"), files(k=content))

    assert store.subject == "CN=localhost"
    assert store.alternative_names == {"DNS:localhost", "IP:127.0.0.1", "IP:::1"}
    assert store.key_pem.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_the_chain_begins_with_the_certificate_of_the_key_and_leaves_others_out():
    issued, authority, other = certificates.server(), certificates.authority(), certificates.untrusted()
    chain = authority.certificate_pem + other.certificate_pem + issued.certificate_pem
    settings = TlsSettings(keystore_type="PEM", keystore_key=issued.key_pem, certificate_chain=chain)

    store = read_key_store(settings, files())

    assert store.chain == (issued.certificate, authority.certificate)


def test_an_encrypted_key_needs_its_password():
    issued = certificates.server()
    encrypted = issued.encrypted_key_pem("opensesame")

    def settings(password):
        return TlsSettings(
            keystore_type="PEM",
            keystore_key=encrypted,
            certificate_chain=issued.certificate_pem,
            key_password=password,
        )

    assert read_key_store(settings("opensesame"), files()).certificate == issued.certificate
    assert problem_of(read_key_store, settings(None)).name == "ssl.key.password"
    wrong = problem_of(read_key_store, settings("wrong"))
    assert (wrong.name, wrong.value) == ("ssl.key.password", "[hidden]")
    assert "wrong" not in str(wrong)


def test_a_traditional_rsa_or_ec_key_is_read_as_well():
    issued = certificates.server()
    key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    settings = TlsSettings(keystore_type="PEM", keystore_key=key, certificate_chain=issued.certificate_pem)

    assert read_key_store(settings, files()).certificate == issued.certificate


@pytest.mark.parametrize("kind", ["PKCS12", "JKS", "pkcs12"])
def test_a_pkcs12_file_is_read_under_both_names_of_its_type(kind):
    settings = TlsSettings(keystore_type=kind, keystore_location="k", keystore_password="secret")

    store = read_key_store(settings, files(k=pkcs12()))

    assert store.chain == (certificates.server().certificate, certificates.authority().certificate)


def test_a_pkcs12_trust_store_gives_its_certificates():
    settings = TlsSettings(truststore_type="PKCS12", truststore_location="t", truststore_password="secret")

    assert read_trust_store(settings, files(t=pkcs12(key=False))) == (certificates.authority().certificate,)


def test_no_settings_are_no_stores():
    assert read_key_store(TlsSettings(), files()) is None
    assert read_trust_store(TlsSettings(), files()) is None


JKS = bytes.fromhex("feedfeed00000002")


@pytest.mark.parametrize(
    ("settings", "content", "name", "words"),
    [
        ({"keystore_type": "PEM"}, None, "ssl.keystore.location", "cannot read k: No such file"),
        ({"keystore_type": "PEM"}, b"", "ssl.keystore.location", "No private key"),
        ({}, JKS, "ssl.keystore.location", "keytool -importkeystore -srckeystore k -destkeystore k.p12"),
        ({"keystore_type": "PKCS12"}, JKS, "ssl.keystore.location", "JKS store, which only Java reads"),
        ({"keystore_type": "BKS"}, b"x", "ssl.keystore.type", "BKS stores are not supported"),
        ({}, b"-----BEGIN CERTIFICATE-----", "ssl.keystore.type", "k is a PEM file, and ssl.keystore.type is JKS"),
        ({}, b"junk", "ssl.keystore.location", "is not a PKCS12 store"),
    ],
)
def test_a_key_store_that_cannot_be_used_is_named(settings, content, name, words):
    chosen = TlsSettings(**{"keystore_location": "k", "keystore_password": "x", **settings})
    problem = problem_of(read_key_store, chosen, **({} if content is None else {"k": content}))

    assert problem.name == name
    assert words in str(problem)


def test_the_wrong_password_of_a_pkcs12_file_is_named_without_being_shown():
    settings = TlsSettings(keystore_type="PKCS12", keystore_location="k", keystore_password="guess")
    problem = problem_of(read_key_store, settings, k=pkcs12())

    assert (problem.name, problem.value) == ("ssl.keystore.password", "[hidden]")


def test_a_trust_store_is_no_key_store():
    settings = TlsSettings(keystore_type="PKCS12", keystore_location="k", keystore_password="secret")

    assert "no private key" in str(problem_of(read_key_store, settings, k=pkcs12(key=False)))


def test_a_key_needs_its_own_certificate():
    settings = TlsSettings(
        keystore_type="PEM",
        keystore_key=certificates.server().key_pem,
        certificate_chain=certificates.client().certificate_pem,
    )

    assert "does not belong" in str(problem_of(read_key_store, settings))


def test_two_keys_are_one_too_many():
    key = certificates.server().key_pem
    settings = TlsSettings(
        keystore_type="PEM", keystore_key=key + key, certificate_chain=certificates.server().certificate_pem
    )

    assert "Expected one private key, but found 2" in str(problem_of(read_key_store, settings))


def test_secrets_are_not_in_the_representation_of_settings_and_stores():
    issued = certificates.server()
    settings = TlsSettings(keystore_type="PEM", keystore_key=issued.key_pem, certificate_chain=issued.certificate_pem)

    shown = repr(settings) + repr(read_key_store(settings, files()))

    assert "PRIVATE KEY" not in shown


HERE = Path(__file__).parent


def test_stores_that_keytool_made_are_read():
    """``keytool -genkeypair`` and ``keytool -importcert`` of Java 17, password ``changeit``."""
    contents = {"key": (HERE / "keytool.p12").read_bytes(), "trust": (HERE / "trust.p12").read_bytes()}
    settings = TlsSettings(
        keystore_location="key",
        keystore_password="changeit",
        truststore_location="trust",
        truststore_password="changeit",
    )

    store = read_key_store(settings, files(**contents))

    assert store.subject == "CN=keytool,O=Test"
    assert read_trust_store(settings, files(**contents)) == (store.certificate,)
