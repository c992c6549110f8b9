"""What ACLs allow, beside a plain transcription of the rules that looks at every ACL."""

import pytest
from acl_reference import decide, decide_any
from hypothesis import given
from hypothesis import strategies as st

from kwire.acls import Acl, AclFilter, Operation, PatternType, Permission, ResourceType
from kwire.security.acl_rules import AclRules
from kwire.security.acl_text import acl_text, read_acls
from kwire.security.principal import Principal
from kwire.security.standard_authorizer import StandardAuthorizer

NAMES = ["*", "a", "ab", "abc", "abd", "b", "hardcode"]
HOSTS = ["10.0.0.1", "10.0.0.2", "0:0:0:0:0:0:0:1"]
NETWORKS = ["10.0.0.0/31", "10.0.0.3/31", "10.0.0.0/8", "0.0.0.0/0", "::/0", "::/127"]
PRINCIPALS = ["User:alice", "User:bob", "Group:alice"]
KINDS = [ResourceType.TOPIC, ResourceType.GROUP]
OPERATIONS = [each for each in Operation if each > Operation.ALL]


@st.composite
def acls(draw):
    return Acl(
        draw(st.sampled_from(KINDS)),
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from([PatternType.LITERAL, PatternType.PREFIXED])),
        draw(st.sampled_from([*PRINCIPALS, "User:*", "Group:*"])),
        draw(st.sampled_from([*HOSTS, *NETWORKS, "*"])),
        draw(st.sampled_from([Operation.ALL, Operation.READ, Operation.DESCRIBE, Operation.ALTER_CONFIGS])),
        draw(st.sampled_from([Permission.ALLOW, Permission.DENY])),
    )


def authorizer(rules=(), **more):
    return StandardAuthorizer(acls=rules, **{"super_users": frozenset(), "allow_unlisted": False, **more})


def may(decider, who, operation, kind, name):
    return decider.allows(Principal(*who.split(":")), "10.0.0.1", operation, kind, name)


@given(
    st.lists(acls(), max_size=12),
    st.lists(acls(), max_size=6),
    st.booleans(),
    st.sampled_from([frozenset(), frozenset({"User:bob"})]),
    st.tuples(
        st.sampled_from(PRINCIPALS),
        st.sampled_from(HOSTS),
        st.sampled_from([Operation.READ, Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS]),
        st.sampled_from(KINDS),
    ),
)
def test_random_acls_decide_as_the_plain_rules(first, more, unlisted, super_users, question):
    """Some ACLs from the start, some added later, some of both removed: each question has the answer of the rules."""
    decider = authorizer(first, super_users=super_users, allow_unlisted=unlisted)
    removed = [*first[::3], *more[::2]]
    decider.change(created=more, deleted=removed)
    left = (set(first) | set(more)) - set(removed)
    settings = {"super_users": super_users, "allow_unlisted": unlisted}
    who, host, operation, kind = question
    principal = Principal(*who.split(":"))
    for name in NAMES:
        for _ in range(2):  # the second time from memory
            allowed = decider.allows(principal, host, operation, kind, name)
            assert allowed == decide(left, who, host, operation, (kind, name), **settings), name
    assert decider.allows_any(principal, host, operation, kind) == decide_any(
        left, who, host, operation, kind, **settings
    )


@given(st.lists(acls(), max_size=8))
def test_rules_that_lose_all_acls_are_as_at_the_start(some):
    rules = AclRules().changed(created=some).changed(deleted=some)

    assert all(not rules.decide("User:alice", "h", Operation.READ, kind, "abc").listed for kind in KINDS)


def test_a_change_makes_new_rules_and_leaves_the_old_ones():
    (acl,) = read_acls("alice may read topic a")
    before = AclRules()
    after = before.changed(created=[acl])
    question = ("User:alice", "h", Operation.READ, ResourceType.TOPIC, "a")

    assert not before.decide(*question).listed
    assert after.decide(*question).acl == acl


def test_deny_comes_before_allow_whatever_the_pattern():
    rules = [*read_acls("anyone may not read topic secret*"), *read_acls("alice may all topic *")]

    assert not may(authorizer(rules), "User:alice", Operation.READ, ResourceType.TOPIC, "secret-1")
    assert may(authorizer(rules), "User:alice", Operation.WRITE, ResourceType.TOPIC, "secret-1")


def test_a_denial_of_an_operation_does_not_deny_what_it_implies():
    rules = [*read_acls("alice may not read topic a"), *read_acls("alice may describe topic a")]

    assert may(authorizer(rules), "User:alice", Operation.DESCRIBE, ResourceType.TOPIC, "a")


def test_the_default_decides_only_for_resources_without_an_acl():
    decider = authorizer(read_acls("bob may read topic a"), allow_unlisted=True)

    assert may(decider, "User:alice", Operation.READ, ResourceType.TOPIC, "b")
    assert not may(decider, "User:alice", Operation.READ, ResourceType.TOPIC, "a")


def test_a_super_user_may_do_what_an_acl_denies():
    decider = authorizer(read_acls("anyone may not all topic *"), super_users=frozenset({"User:admin"}))

    assert may(decider, "User:admin", Operation.DELETE, ResourceType.TOPIC, "a")


def test_the_wildcard_principal_is_that_of_every_type():
    decider = authorizer([*read_acls("anyone may read topic a"), *read_acls("Group:* may read topic b")])

    assert may(decider, "Group:team", Operation.READ, ResourceType.TOPIC, "a")
    assert not may(decider, "Group:team", Operation.READ, ResourceType.TOPIC, "b")


def test_a_decision_is_made_again_after_a_change():
    rules = read_acls("alice may read topic a")
    decider = authorizer(rules)
    epoch = decider.epoch
    assert may(decider, "User:alice", Operation.READ, ResourceType.TOPIC, "a")
    decider.change(created=[], deleted=rules)

    assert not may(decider, "User:alice", Operation.READ, ResourceType.TOPIC, "a")
    assert decider.epoch != epoch


class Counted(dict):
    """A map that counts its look-ups."""

    looked_up = 0

    def get(self, key, default=None):
        Counted.looked_up += 1
        return super().get(key, default)

    def __contains__(self, key):
        Counted.looked_up += 1
        return super().__contains__(key)


def test_a_decision_looks_at_no_acl_of_another_resource(monkeypatch):
    many = [
        Acl(ResourceType.TOPIC, f"team{n:05}-", PatternType.PREFIXED, "User:x", "*", Operation.ALL, Permission.ALLOW)
        for n in range(5000)
    ]
    rules = AclRules().changed(created=[*many, *read_acls("alice may read topic orders")])
    type_rules = rules._types[ResourceType.TOPIC]
    monkeypatch.setitem(
        rules._types, ResourceType.TOPIC, type(type_rules)(Counted(type_rules.patterns), {}, type_rules.lengths)
    )
    assert rules.decide("User:alice", "h", Operation.READ, ResourceType.TOPIC, "orders-of-today").allowed is False

    assert Counted.looked_up <= 4  # the name, "*", and one prefix of each length


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("User:admin", "super user"),
        ("User:alice", "alice may read topic a"),
        ("User:eve", "eve may not all topic a*"),
        ("User:bob", "no ACL allows it"),
    ],
)
def test_why_names_what_decided(who, why):
    rules = [*read_acls("alice may read topic a"), *read_acls("eve may not all topic a*")]
    decider = authorizer(rules, super_users=frozenset({"User:admin"}))

    assert decider.why(Principal(*who.split(":")), "h", Operation.READ, ResourceType.TOPIC, "a") == why
    assert (
        decider.why(Principal("User", "bob"), "h", Operation.READ, ResourceType.GROUP, "g")
        == "no ACL is about the resource"
    )


def test_decisions_that_are_kept_are_bounded(monkeypatch):
    monkeypatch.setattr("kwire.security.standard_authorizer.KNOWN_DECISIONS_MAX", 3)
    decider = authorizer(read_acls("alice may read topic a"))
    for name in ["a", "b", "c", "d", "x" * 1000]:
        may(decider, "User:alice", Operation.READ, ResourceType.TOPIC, name)

    assert len(decider._decisions) <= 3
    assert may(decider, "User:alice", Operation.READ, ResourceType.TOPIC, "a")


# --- filters ---


@given(acls(), acls())
def test_an_exact_filter_selects_its_acl_alone(one, other):
    wanted = AclFilter.exactly(one)

    assert wanted.only == one
    assert wanted.selects(other) == (one == other)


@pytest.mark.parametrize(
    ("pattern", "name", "selected"),
    [
        (PatternType.ANY, "abc", {"abc", "abc prefix"}),
        (PatternType.LITERAL, "abc", {"abc"}),
        (PatternType.PREFIXED, "abc", {"abc prefix"}),
        (PatternType.MATCH, "abc", {"abc", "abc prefix", "a prefix", "*"}),
        (PatternType.MATCH, "*", {"*"}),
        (PatternType.ANY, None, {"abc", "abc prefix", "a prefix", "*", "b"}),
        (PatternType.MATCH, None, {"abc", "abc prefix", "a prefix", "*", "b"}),
        (PatternType.PREFIXED, None, {"abc prefix", "a prefix"}),
    ],
)
def test_which_patterns_a_filter_selects(pattern, name, selected):
    texts = {"abc": "abc", "abc prefix": "abc*", "a prefix": "a*", "*": "*", "b": "b"}
    wanted = AclFilter(resource_name=name, pattern_type=pattern)
    found = {label for label, text in texts.items() if wanted.selects(read_acls(f"u may read topic {text}")[0])}

    assert found == selected


@pytest.mark.parametrize("denied", ["topic a*", "topic ab*", "topic abc*"])
@pytest.mark.parametrize("allowed", ["topic abc", "topic abc*"])
def test_an_allowed_pattern_below_a_denied_prefix_allows_no_resource(allowed, denied):
    rules = [*read_acls(f"alice may read {allowed}"), *read_acls(f"alice may not read {denied}")]

    asked = (Principal("User", "alice"), "10.0.0.1", Operation.READ, ResourceType.TOPIC)
    assert authorizer(rules[:1]).allows_any(*asked)
    assert not authorizer(rules).allows_any(*asked)


# --- sentences ---


@given(acls())
def test_the_sentence_of_an_acl_is_read_as_the_acl(acl):
    if acl.pattern_type is PatternType.PREFIXED and acl.resource_name == "*":
        acl = acl._replace(resource_name="a*")
    assert read_acls(acl_text(acl)) == [acl]


@pytest.mark.parametrize(
    ("sentence", "wrong"),
    [
        ("alice read topic a", "is no ACL"),
        ("alice may fly topic a", "'fly' is no operation"),
        ("alice may read river a", "'river' is no kind of resource"),
        ("alice may read topic", "is no ACL|one name behind"),
        ("alice may read topic a b", "one name behind"),
        ('alice may read topic ""', "is empty"),
        ("alice may alter cluster mine", "there is one cluster"),
    ],
)
def test_a_sentence_that_is_no_acl_is_refused_with_a_reason(sentence, wrong):
    with pytest.raises(ValueError, match=wrong):
        read_acls(sentence)


def test_an_acl_of_the_cluster_may_name_a_host():
    (acl,) = read_acls("alice may alter cluster from 10.0.0.1")

    assert (acl.resource_type, acl.host) == (ResourceType.CLUSTER, "10.0.0.1")


def test_a_sentence_with_several_operations_has_an_acl_for_each():
    first, second = read_acls("alice may read,describe topic a from 10.0.0.1")

    assert (first.operation, second.operation) == (Operation.READ, Operation.DESCRIBE)
    assert first.host == second.host == "10.0.0.1"
