"""Certificates for development: what they may be used for."""

import certificates
from cryptography import x509


def extension(issued, kind):
    return issued.certificate.extensions.get_extension_for_class(kind).value


def test_an_authority_issues_certificates_that_cannot_issue_others():
    authority = extension(certificates.authority(), x509.BasicConstraints)
    assert (authority.ca, authority.path_length) == (True, 0)
    assert not extension(certificates.client(), x509.BasicConstraints).ca


def test_hosts_are_names_or_addresses_and_each_is_listed_once():
    issued = certificates.authority().issue("a", hosts=["a.example", "10.0.0.1", "a.example"], now=certificates.NOW)

    names = extension(issued, x509.SubjectAlternativeName)
    assert [str(name.value) for name in names] == ["a.example", "10.0.0.1"]
