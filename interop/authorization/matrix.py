"""Asks both brokers everything, and compares the answers."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from interop.authorization.brokers import LoggedIn, SecuredApache, SecuredKwire, Token, client_of
from interop.authorization.principals import ADMIN, ANONYMOUS, PRINCIPALS, Principal, creations
from interop.authorization.questions import NO_TOKEN, Prepared, questions
from interop.oracle.asker import Step, records, versions
from interop.oracle.known import known
from interop.oracle.normal import differences

Broker = SecuredApache | SecuredKwire
TITLE = "authorization"
LIFETIME_MS = 3_000_000  # times less than an hour away are compared as "now"


class Choice(NamedTuple):
    """Which part of the matrix: these principals and APIs (empty for all), and each ``every``-th question.

    ``prepared``: topics and ACLs are there already.
    """

    principals: Collection[str] = ()
    apis: Collection[str] = ()
    every: int = 1
    served: Collection[int] = ()
    prepared: bool = False


def chosen(choice: Choice) -> list[Principal]:
    return [each for each in PRINCIPALS if not choice.principals or each.name in choice.principals]


def prepare(
    broker: Broker, principals: Sequence[Principal], tokens: Mapping[str, Token] | None = None
) -> dict[str, Prepared]:
    """Make topics, offsets and ACLs; gives what each principal asks about. ``tokens`` are those of the users."""
    admin = client_of(broker, ADMIN)
    names = [name for each in principals for name in (each.names.topic, each.names.hidden)]
    wanted = [{"name": name, "numPartitions": 1, "replicationFactor": 1} for name in names]
    made = admin.ask("CreateTopics", 7, {"topics": wanted, "timeoutMs": 30000}, note=False)
    assert all(topic["errorCode"] == 0 for topic in made["topics"]), made
    acls = [creation for each in principals for creation in creations(each)]
    added = admin.ask("CreateAcls", 3, {"creations": acls}, note=False)
    assert all(result["errorCode"] == 0 for result in added["results"]), added
    for kind in (0, 1):
        admin.until(
            "FindCoordinator", 4, {"keyType": kind, "coordinatorKeys": ["warm"]},
            lambda got: got["coordinators"][0]["errorCode"] == 0, timeout_s=60,
        )  # fmt: skip
    fresh = {"transactionalId": None, "transactionTimeoutMs": 60000, "producerId": -1, "producerEpoch": -1}
    admin.until("InitProducerId", 4, fresh, lambda got: got["errorCode"] == 0, timeout_s=60)
    ids: dict[str, str] = {}
    for name in names:
        admin.ready(name, 1)
        ids[name] = admin.topic_id(name)
        admin.produce(name, records("first"), note=False)
    for each in principals:
        for group in (each.names.group, f"x-{each.names.group}"):
            offsets = [
                {"name": name, "partitions": [{"partitionIndex": 0, "committedOffset": 1, "committedMetadata": ""}]}
                for name in (each.names.topic, each.names.hidden)
            ]
            body = {"groupId": group, "generationIdOrMemberEpoch": -1, "memberId": "", "topics": offsets}
            admin.until(
                "OffsetCommit", 8, body,
                lambda got: all(p["errorCode"] == 0 for t in got["topics"] for p in t["partitions"]), timeout_s=60,
            )  # fmt: skip
    admin.close()
    if broker.name == "apache":
        time.sleep(2)  # until the broker has the ACLs that the controller has
    hmacs = {name: token.hmac for name, token in (tokens or {}).items()}
    return {each.name: Prepared(ids, hmacs.get(each.name, NO_TOKEN), hmacs.get(ADMIN, NO_TOKEN)) for each in principals}


def make_tokens(broker: Broker, principals: Sequence[Principal]) -> dict[str, Token]:
    """Let each user, and the admin, make itself a delegation token."""
    tokens = {}
    for name in {ADMIN, *(each.name for each in principals)} - {ANONYMOUS}:
        client = client_of(broker, name)
        body = {"renewers": [], "maxLifetimeMs": LIFETIME_MS}
        made = client.ask("CreateDelegationToken", 3, body, note=False)
        assert made["errorCode"] == 0, made
        tokens[name] = Token(made["tokenId"], made["hmac"])
        client.close()
    return tokens


def known_topics(broker: Broker, principals: Sequence[Principal]) -> dict[str, Prepared]:
    """Wait until a broker that found everything on its disk serves it."""
    admin = client_of(broker, ADMIN)
    names = [name for each in principals for name in (each.names.topic, each.names.hidden)]
    for name in names:
        admin.ready(name, 1)
    for each in principals:
        body = {"groupId": each.names.group, "topics": None}
        admin.until("OffsetFetch", 7, body, lambda got: got["errorCode"] == 0, timeout_s=60)
    topics = Prepared({name: admin.topic_id(name) for name in names})
    admin.close()
    return {each.name: topics for each in principals}


def ask_all(broker: Broker, principals: Sequence[Principal], choice: Choice) -> list[Step]:
    """The answers of one broker, in the order of the questions."""
    tokens = {} if choice.prepared else make_tokens(broker, principals)
    prepared = known_topics(broker, principals) if choice.prepared else prepare(broker, principals, tokens)
    steps: list[Step] = []
    for principal in principals:
        client = client_of(broker, principal.name, tokens[principal.name] if principal.by_token else None)
        for name, topic_id in prepared[principal.name].ids.items():
            client.normalizer.known_id(topic_id, name)
        _ask(client, principal, prepared[principal.name], choice)
        steps += client.transcript
        client.close()
    return steps


def _ask(client: LoggedIn, principal: Principal, prepared: Prepared, choice: Choice) -> None:
    from interop.advertised import KEYS

    number, changed = 0, False
    for question in questions(principal.names, prepared):
        if choice.apis and question.api not in choice.apis:
            continue
        if choice.served and KEYS[question.api] not in choice.served:
            continue
        if question.api in _CHANGES_OF_ACLS:
            changed = True
        elif question.api == "DescribeAcls" and changed:
            client.wait_for_metadata(0.8)
            changed = False
        for version in versions(question.api):
            number += 1
            if question.lowest <= version <= question.highest and number % choice.every == 0:
                client.ask(question.api, version, question.body, label=question.label, own=question.api in _LISTINGS)


_CHANGES_OF_ACLS = {"CreateAcls", "DeleteAcls"}
_LISTINGS = {"ListGroups", "ListTransactions", "Metadata"}


def compare(apache: Sequence[Step], other: Sequence[Step]) -> tuple[list[str], int]:
    """The lines of all differences that are not meant, and how many differ as is meant."""
    lines: list[str] = []
    meant = 0
    assert [step.label for step in apache] == [step.label for step in other]
    for expected, seen in zip(apache, other, strict=True):
        for line in differences(expected.answer, seen.answer):
            text = f"{expected.label}{line}"
            if known(TITLE, text):
                meant += 1
            else:
                lines.append(text)
    return lines, meant
