"""Rules of ssl.principal.mapping.rules. The expected names are what Apache Kafka's SslPrincipalMapper gives."""

from __future__ import annotations

import pytest

from kwire.security.tls.principal_mapping import BadRule, NoMatchingRule, PrincipalMapping

DUKE = "CN=Duke, OU=JavaSoft, O=Sun Microsystems"


@pytest.mark.parametrize(
    ("rules", "name", "mapped"),
    [
        ("DEFAULT", "CN=a,OU=b", "CN=a,OU=b"),
        ("RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,DEFAULT", "CN=kafka,OU=ServiceUsers,O=x", "kafka"),
        ("RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,DEFAULT", "CN=kafka,OU=Other", "CN=kafka,OU=Other"),
        ("RULE:^CN=(.*?),OU=(.*?),O=(.*?),.*$/$1@$2/L", "CN=Kafka,OU=Admin,O=x,C=y", "kafka@admin"),
        ("RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U", "OU=b,cn=Mixed.Case9,O=c", "MIXED.CASE9"),
        (" RULE:^CN=(.*?)$/$1/ , DEFAULT ", "CN=spaced", "spaced"),
        ("RULE:^CN=(.*)$/$1$2@$0/", "CN=a", "a$2@CN=a"),
        (r"RULE:^CN=(.*)$/\$1/", "CN=a", "$1"),
        ("RULE:^CN=(?<who>[a-z]+)$/${who}!/", "CN=bob", "bob!"),
        (r"RULE:^CN=(\w+)\/(\w+)$/$2/", "CN=a/b", "b"),
        ("RULE:.*/x/", "CN=a", "xx"),
        (r"RULE:^CN=(\p{Upper}\p{Alnum}*)$/$1/L", "CN=A1b", "a1b"),
    ],
)
def test_the_first_rule_that_applies_gives_the_name(rules, name, mapped):
    assert PrincipalMapping(rules).name_of(name) == mapped


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
