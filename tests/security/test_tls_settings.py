"""Rules between ssl.* settings, with the messages of Apache Kafka's DefaultSslEngineFactory; protocols and suites."""

from __future__ import annotations

import ssl

import certificates
import pytest

from kwire.security.tls.contexts import openssl_name, served_suites
from kwire.security.tls.settings import TlsProblem, TlsSettings, read_tls_settings


def read(**values):
    texts = {"ssl." + name.replace("_", "."): value for name, value in values.items()}
    return read_tls_settings(texts.get)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"keystore_key": "k", "keystore_certificate_chain": "c"},
            "SSL private key can be specified only for PEM, but key store type is JKS.",
        ),
        (
            {"keystore_type": "PEM", "keystore_key": "k"},
            "SSL private key is specified, but certificate chain is not specified.",
        ),
        (
            {"keystore_type": "PEM", "keystore_key": "k", "keystore_certificate_chain": "c", "keystore_location": "f"},
            "Both SSL key store location and separate private key are specified.",
        ),
        (
            {"keystore_type": "PEM", "keystore_key": "k", "keystore_certificate_chain": "c", "keystore_password": "p"},
            "SSL key store password cannot be specified with PEM format, only key password may be specified.",
        ),
        (
            {"keystore_certificate_chain": "c"},
            "SSL certificate chain is specified, but private key is not specified",
        ),
        (
            {"keystore_type": "PEM", "keystore_location": "f", "keystore_password": "p"},
            "SSL key store password cannot be specified with PEM format, only key password may be specified.",
        ),
        ({"keystore_password": "p"}, "SSL key store is not specified, but key store password is specified."),
        ({"keystore_location": "f"}, "SSL key store is specified, but key store password is not specified."),
        (
            {"truststore_certificates": "c"},
            "SSL trust store certs can be specified only for PEM, but trust store type is JKS.",
        ),
        (
            {"truststore_type": "PEM", "truststore_certificates": "c", "truststore_location": "f"},
            "Both SSL trust store location and separate trust certificates are specified.",
        ),
        (
            {"truststore_type": "PEM", "truststore_location": "f", "truststore_password": "p"},
            "SSL trust store password cannot be specified for PEM format.",
        ),
        ({"truststore_password": "p"}, "SSL trust store is not specified, but trust store password is specified."),
        ({"protocol": "TLSv2"}, "TLSv2 SSLContext not available"),
        ({"enabled_protocols": ("TLSv1.2", "TLSv9")}, "Unsupported protocol: TLSv9"),
    ],
)
def test_settings_that_exclude_each_other_are_refused_with_kafkas_message(values, message):
    with pytest.raises(TlsProblem) as caught:
        read(**values)

    assert str(caught.value) == message
    assert caught.value.value != "p"


def test_a_trust_store_may_be_without_a_password():
    assert read(truststore_type="PKCS12", truststore_location="f").truststore_location == "f"


@pytest.mark.parametrize(
    ("values", "versions"),
    [
        ({"enabled_protocols": ("TLSv1.2", "TLSv1.3")}, ("TLSv1.3", "TLSv1.2")),
        ({"enabled_protocols": ("TLSv1.2", "TLSv1.1", "TLSv1")}, ("TLSv1.2",)),
        ({"protocol": "TLSv1.2"}, ("TLSv1.2",)),
        ({}, ("TLSv1.3", "TLSv1.2")),
    ],
)
def test_versions_of_tls_follow_from_the_protocols(values, versions):
    assert read(**values).versions == versions


def test_protocols_before_tls_1_2_alone_are_refused():
    with pytest.raises(TlsProblem, match=r"before TLSv1\.2 are not served"):
        read(enabled_protocols=("TLSv1.1",))


@pytest.mark.parametrize(
    ("java", "openssl"),
    [
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384"),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256"),
    ],
)
def test_javas_names_of_suites_are_openssls(java, openssl):
    assert openssl_name(java) == openssl
    context = certificates.for_server(cipher_suites=(java,))
    assert [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"] == [openssl]
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    "suite", ["TLS_NOPE", "SSL_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "ALL", "AES128-SHA"]
)
def test_an_unknown_suite_is_refused(suite):
    with pytest.raises(TlsProblem, match=f"Unsupported CipherSuite: {suite}"):
        certificates.for_server(cipher_suites=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", suite))


def test_suites_of_tls_1_3_alone_leave_no_other_version():
    context = certificates.for_server(cipher_suites=("TLS_AES_256_GCM_SHA384",))

    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert served_suites(TlsSettings(cipher_suites=("TLS_AES_256_GCM_SHA384",))) == {"TLS_AES_256_GCM_SHA384"}


def test_suites_of_tls_1_3_that_cannot_be_chosen_are_refused():
    with pytest.raises(TlsProblem, match="only the first ones"):
        certificates.for_server(cipher_suites=("TLS_AES_128_GCM_SHA256",))


def test_suites_of_a_protocol_that_is_not_enabled_are_refused():
    with pytest.raises(TlsProblem, match=r"None of these suites belongs to TLSv1\.2"):
        certificates.for_server(cipher_suites=("TLS_AES_256_GCM_SHA384",), enabled_protocols=("TLSv1.2",))


def test_a_host_name_is_verified_unless_the_algorithm_is_empty():
    assert certificates.for_client().check_hostname
    assert not certificates.for_client(endpoint_identification_algorithm="").check_hostname
