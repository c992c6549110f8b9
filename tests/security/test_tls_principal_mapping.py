"""Principals of certificates: names and rules, against ``apache_principals.tsv``, written from the official classes by
``tools/principal_vectors.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kwire.security.tls.names import MalformedName, distinguished_name
from kwire.security.tls.principal_mapping import BadRule, NoMatchingRule, PrincipalMapping

LINES = [line.split("\t") for line in Path(__file__).with_name("apache_principals.tsv").read_text("utf-8").splitlines()]
NAMES = [(bytes.fromhex(der), text) for kind, der, text in (line for line in LINES if line[0] == "name")]
MAPPED = [(rules, name, answer) for kind, rules, name, answer in (line for line in LINES if line[0] == "rule")]


def escaped(text: str) -> str:
    return "".join(char if 32 <= ord(char) <= 126 else f"\\u{ord(char):04x}" for char in text)


@pytest.mark.parametrize(("der", "text"), NAMES, ids=[text for _, text in NAMES])
def test_a_distinguished_name_is_printed_as_java_prints_it(der, text):
    assert escaped(distinguished_name(der)) == text


def test_bytes_that_are_no_name_are_refused():
    for der in (b"", b"\x30", b"\x31\x00", b"\x30\x05\x31\x03", NAMES[0][0][:-1]):
        with pytest.raises(MalformedName):
            distinguished_name(der)


def test_rules_give_the_names_of_the_official_class():
    assert len(MAPPED) > 300
    for rules, name, answer in MAPPED:
        try:
            ours = escaped(PrincipalMapping(rules).name_of(name))
        except (BadRule, NoMatchingRule):
            ours = "!"
        assert ours == answer[:1] if answer.startswith("!") else ours == answer, (rules, name)


def test_a_name_that_no_rule_matches_has_no_principal():
    with pytest.raises(NoMatchingRule, match="No rules apply to CN=a"):
        PrincipalMapping("RULE:^CN=b$/b/").name_of("CN=a")


@pytest.mark.parametrize("rules", ["RULE:^CN=(.*)$/$2x\\/", "RULE:a", "DEFAULTS", "RULE:(/x/", "RULE:a/b/X"])
def test_a_rule_that_does_not_parse_is_refused(rules):
    with pytest.raises(BadRule, match="Invalid rule"):
        PrincipalMapping(rules)


def test_a_reference_without_a_group_gives_no_principal():
    with pytest.raises(NoMatchingRule, match="No group 1"):
        PrincipalMapping("RULE:^CN=a$/$1/").name_of("CN=a")
