# ruff: noqa: S311 - the random numbers are test data
"""Write ``tests/security/authorizer_vectors.json.gz``: random ACLs and questions, answered by the official authorizer.

    python tools/authorizer_vectors.py [--libs DIRECTORY] [--seed 1] [--sets 250] [--questions 40]

Each vector is a set of ACLs, the settings of the authorizer, and questions, a fifth of which are about at least one
resource of a type, with the answers of the official StandardAuthorizer. Needs Java 17 and the official jars.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from typing import Any

from official_java import ROOT, run_java

from kwire.acls import Operation, PatternType, Permission, ResourceType

TARGET = ROOT / "tests" / "security" / "authorizer_vectors.json.gz"
NAMES = ("*", "a", "ab", "abc", "abd", "b", "ba", "z.1", "hardcode")
ASKED_NAMES = ("a", "ab", "abc", "abcd", "abd", "b", "ba", "bab", "c", "z.1", "hardcode")
HOSTS = ("10.0.0.1", "10.0.0.2", "0:0:0:0:0:0:0:1")
NETWORKS = ("10.0.0.0/31", "10.0.0.3/31", "10.0.0.0/8", "0.0.0.0/0", "::/127", "0:0:0:0:0:0:0:1/128", "10.0.0.2/x")
PRINCIPALS = ("User:alice", "User:bob", "Group:alice")
KINDS = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.CLUSTER, ResourceType.TRANSACTIONAL_ID)
OPERATIONS = [each for each in Operation if each >= Operation.ALL]
ASKED = [each for each in Operation if each > Operation.ALL]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the vectors of the authorizer from the official release.")
    parser.add_argument("--libs", help="a directory that holds the official jars; by default those of make jars")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sets", type=int, default=250, help="how many sets of ACLs")
    parser.add_argument("--questions", type=int, default=40, help="how many questions about each")
    given = parser.parse_args()
    generator = random.Random(given.seed)
    vectors = [vector(generator, given.questions) for _ in range(given.sets)]
    answers = run_java("AskAuthorizer", given.libs, "".join(json.dumps(each) + "\n" for each in vectors))
    lines = [json.dumps({**each, "answers": letters}) for each, letters in zip(vectors, answers, strict=True)]
    TARGET.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    allowed = sum(letters.count("A") for letters in answers)
    print(f"{given.sets * given.questions} questions, {allowed} allowed: {TARGET}")


def vector(generator: random.Random, questions: int) -> dict[str, Any]:
    """A set of ACLs of which half are about what is asked most, and questions."""
    settings = {}
    if generator.random() < 0.3:
        settings["super.users"] = generator.choice(["User:bob", "Group:alice;User:carol", " User:alice ; "])
    if generator.random() < 0.3:
        settings["allow.everyone.if.no.acl.found"] = generator.choice(["true", "TRUE", "false", "yes"])
    return {
        "settings": settings,
        # The official authorizer refuses an ACL that it has.
        "acls": [*map(list, dict.fromkeys(tuple(acl(generator)) for _ in range(generator.randint(0, 14))))],
        "questions": [question(generator) for _ in range(questions)],
    }


def acl(generator: random.Random) -> list[Any]:
    return [
        int(generator.choice(KINDS)),
        generator.choice(NAMES),
        int(generator.choice((PatternType.LITERAL, PatternType.PREFIXED))),
        generator.choice((*PRINCIPALS, "User:*", "User:*", "Group:*")),
        generator.choice((*HOSTS, *NETWORKS, "*", "*", "*", "*", "*")),
        int(generator.choice(OPERATIONS)) if generator.random() < 0.5 else int(generator.choice(OPERATIONS[:3])),
        int(generator.choice((Permission.ALLOW, Permission.ALLOW, Permission.DENY))),
    ]


def question(generator: random.Random) -> list[Any]:
    return [
        generator.choice(PRINCIPALS),
        generator.choice(HOSTS),
        int(generator.choice(ASKED[:8] if generator.random() < 0.7 else ASKED)),
        int(generator.choice(KINDS)),
        None if generator.random() < 0.2 else generator.choice(ASKED_NAMES),
    ]


if __name__ == "__main__":
    main()
