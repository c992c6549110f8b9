"""Ten thousand random questions to which the official StandardAuthorizer gave the answers.

``tools/authorizer_vectors.py`` writes the file from the official jars.
"""

import gzip
import json
from pathlib import Path

import pytest

from kwire.acls import Acl, Operation, PatternType, Permission, ResourceType
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER, read_authorizer
from kwire.security.principal import Principal
from kwire.security.standard_authorizer import StandardAuthorizer

FILE = Path(__file__).with_name("authorizer_vectors.json.gz")
VECTORS = [json.loads(line) for line in gzip.decompress(FILE.read_bytes()).decode().splitlines()]


def authorizer_of(vector):
    texts = {"authorizer.class.name": STANDARD_AUTHORIZER, **vector["settings"]}
    settings = read_authorizer(EffectiveConfigs(MetadataImage(), BrokerSettings(texts), node_id=1))
    acls = [
        Acl(
            ResourceType(kind),
            name,
            PatternType(pattern),
            principal,
            host,
            Operation(operation),
            Permission(permission),
        )
        for kind, name, pattern, principal, host, operation, permission in vector["acls"]
    ]
    return StandardAuthorizer(super_users=settings.super_users, allow_unlisted=settings.allow_unlisted, acls=acls)


def answer(authorizer, question):
    who, host, operation, kind, name = question
    asked = (Principal(*who.split(":", 1)), host, Operation(operation), ResourceType(kind))
    allowed = authorizer.allows_any(*asked) if name is None else authorizer.allows(*asked, name)
    return "A" if allowed else "D"


@pytest.mark.parametrize("first", range(0, len(VECTORS), 50))
def test_the_answers_are_those_of_the_official_authorizer(first):
    for vector in VECTORS[first : first + 50]:
        authorizer = authorizer_of(vector)
        differ = [
            (question, official)
            for question, official in zip(vector["questions"], vector["answers"], strict=True)
            if answer(authorizer, question) != official
        ]
        assert not differ, (vector["settings"], vector["acls"])


def test_there_are_enough_questions_of_both_answers():
    letters = "".join(vector["answers"] for vector in VECTORS)

    assert len(letters) >= 10_000
    assert 0.1 < letters.count("A") / len(letters) < 0.9
