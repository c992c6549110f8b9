"""Write ``tests/security/apache_principals.tsv``: names as Java prints them, and what Kafka's rules make of them.

    python tools/principal_vectors.py [--libs DIRECTORY]

A line is a question and the answer of the official classes (see ``tools/java/MapPrincipals.java``). Needs Java 17 and
the official jars (``make jars``).
"""

from __future__ import annotations

import argparse

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier
from official_java import ROOT, run_java

TARGET = ROOT / "tests" / "security" / "apache_principals.tsv"

_CN = NameOID.COMMON_NAME
# Each name is a list of relative names, each of these a list of type, text and encoding.
_COMMON_NAMES = (
    " lead and trail ", "#hash",
    "a#b", 'q"uo\\te;<x>=y', "Zoë Müller", "日本", "nul\x00x", "tab\tx*&@!_", "\rcr ", "  ",
)  # fmt: skip
_TYPES = (
    NameOID.STREET_ADDRESS, NameOID.TITLE, NameOID.GIVEN_NAME, NameOID.SURNAME, NameOID.POSTAL_CODE,
    NameOID.DN_QUALIFIER, NameOID.PSEUDONYM, NameOID.GENERATION_QUALIFIER, NameOID.INITIALS, NameOID.SERIAL_NUMBER,
    NameOID.USER_ID, NameOID.DOMAIN_COMPONENT, NameOID.EMAIL_ADDRESS, NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.LOCALITY_NAME, NameOID.STATE_OR_PROVINCE_NAME, ObjectIdentifier("1.2.3.4.5.678901"),
    ObjectIdentifier("2.999.3"),
)  # fmt: skip
_RULES = (
    "DEFAULT", "", "RULE:", "RULE:a", "DEFAULTS", "RULE:(/x/", "RULE:a/b/X", "RULE:a/b/L", "RULE:a/b/U", "nonsense",
    "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,DEFAULT", "RULE:^CN=(.*?),OU=(.*?),O=(.*?),.*$/$1@$2/L",
    "RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U", " RULE:^CN=(.*?)$/$1/ , DEFAULT ", "RULE:^CN=(.*)$/$1$2@$0/",
    "RULE:^CN=(.*)$/$12-$3-$4/", r"RULE:^CN=(.*)$/\$1/", "RULE:^CN=(?<who>[a-z]+)$/${who}!/",
    r"RULE:^CN=(\w+)\/(\w+)$/$2/", "RULE:.*/x/", r"RULE:^CN=(\p{Upper}\p{Alnum}*)$/$1/L",
    r"RULE:^CN=([\p{Alpha}-]+).*$/$1/", "RULE:^CN=a$/$1/", "RULE:^CN=a.*$/${x}/", "RULE:^CN=a.*$/$/",
    r"RULE:^CN=a.*$/\/", r"RULE:^CN=(.*)$/$2x\/", "DEFAULT,DEFAULT", "RULE:^CN=b$/b/,RULE:^CN=a$/A/",
    "RULE:^CN=(.*?)(,OU=.*)?$/$1/L,DEFAULT", "RULE:CN=(.*?)/$1/", "RULE:^(.*)$/$1,x/",
    "RULE:^CN=([^,]+).*$/u-$1/U,RULE:x/y/", "RULE:.*?/x/", r"RULE:^CN=(.*)$/$1\/y/", "RULE:^CN=(.*)$/$01/",
    "RULE:^CN=a++$/p/", "RULE:^CN=(.*)$/$1/ L", "RULE:^CN=(.*)$/$1/L,  ,DEFAULT",
    "RULE:^cn=(.*)$/$1/,RULE:(?i)^cn=(.*)$/i-$1/",
)  # fmt: skip
_SUBJECTS = (
    "CN=a", "CN=Duke,OU=ServiceUsers,O=Org,C=US", "CN=kafka,OU=Other,O=x,C=y", "OU=b,cn=Mixed.Case9,O=c", "CN=a/b",
    "CN=A1b", "CN=b", "CN=abc-d,OU=x",
)  # fmt: skip


def write_principals(libs: str | None) -> None:
    """Ask the official classes, and write the answers."""
    questions = [f"name\t{name.public_bytes().hex()}" for name in _names()]
    questions += [f"rule\t{rules}\t{subject}" for rules in _RULES for subject in _SUBJECTS]
    answers = run_java("MapPrincipals", libs, "".join(f"{question}\n" for question in questions))
    lines = [f"{question}\t{answer}\n" for question, answer in zip(questions, answers, strict=True)]
    TARGET.write_text("".join(lines), "utf-8")


def _names() -> list[x509.Name]:
    def name(*parts: tuple[ObjectIdentifier, str]) -> x509.Name:
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])

    encodings = (_ASN1Type.BMPString, _ASN1Type.T61String, _ASN1Type.UniversalString, _ASN1Type.IA5String)
    several = x509.RelativeDistinguishedName(
        [x509.NameAttribute(_CN, "multi"), x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "part")]
    )
    return [
        name(
            (NameOID.COUNTRY_NAME, "DE"),
            (NameOID.ORGANIZATION_NAME, "Acme, Inc."),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "R+D"),
            (_CN, "alice"),
        ),
        name(),
        *(name((_CN, text)) for text in _COMMON_NAMES),
        *(name((oid, "value"), (_CN, "x")) for oid in _TYPES),
        *(x509.Name([x509.NameAttribute(_CN, "text", encoding)]) for encoding in encodings),
        x509.Name([several, x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "org")])]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--libs", help="a directory that holds the jars")
    write_principals(parser.parse_args().libs)


if __name__ == "__main__":
    main()
