"""Brokers of kwire that appear as older releases, beside the official broker of each: the oracle's stories to both.

A story asks at the versions that the release has, as far as it gets with them. What differs and is meant is in
``KNOWN``, or is known for the newest release too.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from interop.brokers import Apache, Kwire
from interop.case import Run, case
from interop.older_brokers import beside_official
from interop.oracle.asker import Asker, NotInRelease
from interop.oracle.story import STORIES, Registered, unknown_differences, warm
from kwire.personas import Persona, names, persona
from kwire.wire import codec

# Without the newest, with which the other cases of the oracle compare, and the oldest: see ``PARTS_OF_OLDEST``.
RELEASES = names()[1:-1]


class Known(NamedTuple):
    """A difference that is meant, in the releases that it is in; the patterns are of the story and of the line."""

    releases: tuple[str, ...]
    story: str
    line: str
    reason: str


ALL = names()
BEFORE_4 = ("2.8", "3.9")
BEFORE_4_1 = (*BEFORE_4, "4.0")

KNOWN: tuple[Known, ...] = (
    Known(ALL, r".*", r"rrorMessage: |\.apiKeyMessage: ", "Error messages are those of the newest release."),
    Known(
        BEFORE_4,
        r"partitions-added-in-batches|partitions-are-added",
        r"^(AddPartitionsToTxn v[45] |EndTxn v4\.errorCode: 0 / 48|records: )",
        "In versions that brokers use among themselves, a transaction of version 2 needs that feature.",
    ),
    Known(
        BEFORE_4,
        r"update-features.*",
        r"",
        "UpdateFeatures is refused as a whole, as since 4.0 (KIP-1022); before, each feature had its code.",
    ),
    Known(
        BEFORE_4,
        r"find-coordinator",
        r"kind 2 ",
        "Coordinators of share groups are refused as unknown; 3.9 says that none is available.",
    ),
    Known(
        BEFORE_4_1,
        r"describe-configs-(refused|of-odd-requests)|incremental-alter-configs",
        r" type (16|32)| a group's key\.",
        "Subscriptions to client metrics were described without defaults, and configs of groups without the broker's.",
    ),
    Known(
        ("4.0",),
        r"update-features-of-odd-requests",
        r" kraft\.version down\.(errorCode: 0 / 95|results: )",
        "A lower level of kraft.version is refused, which 4.0 answers without an error.",
    ),
    Known(
        BEFORE_4_1,
        r"offsets-of-a-simple-group",
        r"^OffsetFetch v[89] no groups: 'no answer' / ",
        "An OffsetFetch that names no group is answered.",
    ),
    Known(
        BEFORE_4,
        r"life-of-a-classic-group",
        r"^DeleteGroups v\d\.results\[1\]\.errorCode: 69 / 0",
        "A request of a member to a group that does not exist leaves an empty group, as since 4.0.",
    ),
    Known(
        BEFORE_4,
        r"offsets-of-a-simple-group|delete-offsets|.*-of-odd-requests|.*-that-repeat",
        r"^(OffsetCommit|OffsetFetch|OffsetDelete|ListOffsets) v\d ?.*",
        "What a request names twice is answered twice; before 4.0 it was put together, or refused.",
    ),
    Known(
        BEFORE_4,
        r"offsets-of-members",
        r"^TxnOffsetCommit v2 (epoch behind|epoch ahead|of an unknown transaction|no transaction)\.",
        "A later epoch than the transaction's is refused; 3.9 takes its offsets, and then refuses the former epoch.",
    ),
    Known(
        BEFORE_4,
        r"transactional-offsets-and-other-changes",
        r"^(OffsetDelete|DescribeGroups|DeleteGroups) v\d pending\.",
        "A group that has only offsets of an open transaction is not there yet, as since 4.0; in 3.9 it is.",
    ),
    Known(
        BEFORE_4,
        r"list-offsets-refused",
        r"^ListOffsets v\d a partition twice\.",
        "A partition that ListOffsets names twice is refused once; before 4.0 twice.",
    ),
    Known(
        BEFORE_4,
        r"group-requests-that-repeat",
        r"^(DescribeGroups|DeleteGroups) ",
        "A group without members whose last offset was deleted is still there, as since 4.0; before, it was gone.",
    ),
    Known(
        BEFORE_4,
        r"fetches-with-odd-fields",
        r"^Fetch v\d+ replica 7\.nodeEndpoints",
        "A follower that is none gets no addresses.",
    ),
    Known(
        BEFORE_4,
        r"offsets-of-a-consumer-group|life-of-a-consumer-group",
        r"^DeleteGroups ",
        "There are no such groups before 4.0, and what is left of the story asks about an empty one.",
    ),
    Known(
        ("4.0",),
        r"life-of-a-consumer-group|consumer-heartbeats-(refused|to-other-kinds-of-groups)|two-members-of-a-consumer-group|"
        r"static-members-of-a-consumer-group|offsets-of-a-consumer-group|a-consumer-group-follows-its-topics",
        r"([eE]poch|generationId): \d / \d$",
        "The epochs of a consumer group begin at 2, as since 4.1; in 4.0 at 1.",
    ),
    Known(
        ("4.0",),
        r"init-producer-id-repeated|end-txn-repeated|partitions-are-added|end-txn-of-aborted-transactions",
        r"^records\[\d+\]\.previous\.producerId: -1 / ",
        "Records of transactions name the previous producer id, which 4.0 left out.",
    ),
    Known(
        ("4.0",),
        r"offsets-of-a-consumer-group",
        r"^OffsetCommit v\d+ as before, what it kept\..*errorCode: 113 / 0$",
        "A commit with an epoch that the member had before is accepted for what it kept (KIP-1251).",
    ),
    Known(
        ("4.0",),
        r"a-consumer-group-follows-its-topics",
        r"^ConsumerGroupDescribe v1 none\..*\.assignment\.topicPartitions: \[\] / ",
        "A member is described with the partitions that it has not given up yet; 4.0 left them out.",
    ),
    Known(
        ("4.0",),
        r"produce-outside-of-the-transaction",
        r"^(Produce v12 (not added, later sequence|first of a partition)\.|DescribeProducers v0\..*partitions\[1\]\.)",
        "A producer's first batch in a transaction of version 2 must have sequence 0; 4.0 took any.",
    ),
    Known(
        ("4.3",),
        r"(life-of|offsets-of)-a-(share|streams)-group",
        r"assignmentEpoch: \d / \d$",
        "The epoch of an assignment counts a group without members.",
    ),
    Known(
        ("4.3",),
        r"states-of-share-partitions",
        r"^\w+ShareGroupState(Summary)? v\d (epoch|leader|state|a count and start|at version) (-1|0)\.",
        "In versions that brokers use among themselves, the state of a share partition is checked as since 4.4.",
    ),
    Known(
        ("4.3",),
        r"share-sessions-and-unknown-topics|share-partitions-after-deletion-of-records",
        r"^Share\w+ v2 (an unknown topic|no topic id|after errors|a topic that was deleted)",
        "A share session lives on when it names a topic that does not exist; 4.3 ends it with UNKNOWN_SERVER_ERROR.",
    ),
    Known(
        ("4.3",),
        r"a-consumer-group-follows-its-topics|life-of-a-consumer-group",
        r"[eE]poch: \d / \d$",
        "The epoch of a consumer group counts another assignor that a member asks for, and a group without members.",
    ),
    Known(
        BEFORE_4_1,
        r"alter-configs-oddities",
        r"logger.*errorCode: -1 / |a level that is none.*errorCode: -1 / ",
        "The official broker needs log4j for these, which is not in the class path.",
    ),
    Known(
        ("2.8",),
        r".*",
        r"^Fetch v\d+ .*\.abortedTransactions: None / \[\]$",
        "No aborted transactions are an empty list in Fetch, where 2.8 has null.",
    ),
    Known(
        ("2.8",),
        r"fetches-with-odd-fields",
        r"^Fetch v\d+ replica 7\.",
        "A follower that is none is refused with NOT_LEADER_OR_FOLLOWER; 2.8 answers it as a consumer.",
    ),
    Known(
        ("2.8",),
        r"list-offsets.*|offsets-and-open-transactions",
        r"^ListOffsets v\d .*(time -[3-9]|at -[3-9]|-7,|max timestamp|earliest local|last tiered|earliest pending)",
        "Timestamps below -2 are refused with UNSUPPORTED_VERSION; 2.8 looks for the first record behind them.",
    ),
    Known(
        ("2.8",),
        r"produce-damaged",
        r"^(Produce v9 (log append time|sequence without a producer|no timestamp|negative timestamp|far in the future)|"
        r"Fetch v12)\.",
        "A batch that claims LogAppendTime is accepted; 2.8 refuses it with INVALID_TIMESTAMP.",
    ),
    Known(
        ("2.8",),
        r"describe-producers-of-unknown-partitions",
        r"errorCode: 3 / 17$",
        "DescribeProducers refuses invalid names of topics with INVALID_TOPIC_EXCEPTION; in 2.8 they are unknown.",
    ),
    Known(
        ("2.8",),
        r"fetch-sessions-under-a-byte-limit",
        r"^Fetch v12 .*\.(partitionIndex|highWatermark|lastStableOffset): ",
        "Partitions of a fetch session that a byte limit leaves out take turns in another order.",
    ),
    Known(
        ("2.8",),
        r"fetch-sessions-of-deleted-topics",
        r"^steps differ: ",
        "In 2.8 a topic that was deleted and created again is another one to ListOffsets a moment later.",
    ),
    Known(
        ("2.8",),
        r"partitions-are-added",
        r"^AddPartitionsToTxn v3 (none|one twice)\.",
        "AddPartitionsToTxn answers a topic without partitions, and twice what it names twice; 2.8 put it together.",
    ),
    Known(
        ("2.8",),
        r"two-producers-in-one-request",
        r"^(Produce v9 .*, with(out)? a name\.|Fetch v\d+|records)",
        "A request with batches of two producers is refused with INVALID_PRODUCER_ID_MAPPING; 2.8 writes them.",
    ),
    Known(
        ("2.8",),
        r"transactional-offsets-in-a-rebalance",
        r"^TxnOffsetCommit v3 completing, (another instance|generation only)\..*errorCode: 0 / 25$",
        "TxnOffsetCommit refuses an unknown instance, and a generation without a member; 2.8 checks neither.",
    ),
    Known(
        ALL,
        r"every-broker-config",
        r"^steps differ: only Apache \['(group\.consumer\.assignment|share\.coordinator\.state)[^\]]*\]; .* \[\]$",
        "The settings of the official broker have these, which its release does not know.",
    ),
)

# Thousands of fetches, which the newest release answers the same way.
LONG = frozenset({"aborted-transactions-of-a-fetch", "aborted-transactions-of-what-does-not-fit"})


# Stories at a time at each broker: those of "admin" change the broker's configs, the others wait most of the time.
AT_A_TIME = {"admin": 1, "data": 2, "groups": 4}

# What 2.8 is asked: its answers about groups and configs differ in ways that are not named yet.
PARTS_OF_OLDEST = ("data",)

# The modules of stories that make up a case; "groups" has all others.
PARTS = {
    "admin": ("admin", "basics", "corners_admin", "others"),
    "data": ("data", "corners_data", "fetch_sessions", "transactions", "transaction_edges", "transactional_offsets"),
    "groups": (),
}


def stories_of(part: str) -> list[Registered]:
    others = {module for modules in PARTS.values() for module in modules}

    def belongs(story: Registered) -> bool:
        module = story.body.__module__.rpartition(".")[2]
        return module in PARTS[part] if PARTS[part] else module not in others

    return [story for story in STORIES if belongs(story) and story.title not in LONG]


def register(name: str, part: str) -> None:
    @case("personas", "oracle", f"{part}-as-{name}")
    def body(run: Run) -> None:
        release = persona(name)
        assert release is not None
        with beside_official(run, name) as (apache, ours):
            apache.start()
            ours.start()
            for broker in (apache, ours):
                warm(broker)
            found = compare(stories_of(part), release, apache, ours, at_a_time=AT_A_TIME[part])
        lines = [f"{story}: {line}" for story, differences in found.items() for line in differences]
        shown = "\n".join(lines[:60]) + (f"\n... and {len(lines) - 60} more" if len(lines) > 60 else "")
        assert not lines, f"{len(lines)} differences (Apache Kafka {release.release} / kwire)\n{shown}"


def compare(
    stories: list[Registered], release: Persona, apache: Apache, ours: Kwire, *, at_a_time: int
) -> dict[str, list[str]]:
    """Ask both brokers those stories that the release has the APIs for; the differences by story.

    A story with differences is asked a second time, by itself: where several run at the same time on a busy machine,
    requests of two connections may arrive in another order than they were sent in.
    """
    highest = {key: highest for key, (_, highest) in release.apis.items() if key in codec.api_keys()}
    served = {codec.api_name(key) for key in highest}
    asked = [story for story in stories if set(story.apis) <= served]
    seen: set[str] = set()

    def differences(these: list[Registered], suffix: str, at_a_time: int) -> dict[str, list[str]]:
        found = {}
        with ThreadPoolExecutor(at_a_time) as first, ThreadPoolExecutor(at_a_time) as second:
            expected = first.map(lambda story: _ask(story, apache, highest, suffix), these)
            others = second.map(lambda story: _ask(story, ours, highest, suffix), these)
            for story, *transcripts in zip(these, expected, others, strict=True):
                left = _unknown(story.title, release.name, transcripts, seen)
                if left:
                    found[story.title] = left
                    shown = "\n".join(f"as {release.name}: {story.title}: {line[:400]}" for line in left[:25])
                    print(shown, flush=True)
        return found

    found = differences(asked, "x", at_a_time)
    if found:
        print(f"as {release.name}: asked again: {', '.join(found)}", flush=True)
        found = differences([story for story in asked if story.title in found], "y", 1)
    for reason in sorted(seen):
        print(f"as {release.name}: seen: {reason}", flush=True)
    return found


def _unknown(title: str, release: str, transcripts: list[list[Any]], seen: set[str]) -> list[str]:
    """Give the lines that are not known; the reasons of the others are added to ``seen``."""
    left = []
    for line in unknown_differences(title, *transcripts):
        reasons = [each.reason for each in KNOWN if _applies(each, release, title, line)]
        seen.update(reasons)
        if not reasons:
            left.append(line)
    return left


def _ask(story: Registered, broker: Apache | Kwire, highest: dict[int, int], suffix: str) -> list[Any]:
    asker = Asker(broker.port, f"o-{story.title}-{suffix}", broker.name == "kwire", highest=highest)
    try:
        story.body(asker)
    except NotInRelease:
        pass  # the answers so far are compared
    except (AssertionError, KeyError, IndexError, TimeoutError, OSError):
        # It needs a newer version: both brokers must get equally far.
        asker.note("the story ends", True)
    finally:
        asker.close()
    return asker.transcript


def _applies(known: Known, release: str, story: str, line: str) -> bool:
    named = release in known.releases and re.fullmatch(known.story, story)
    return bool(named and re.search(known.line, line))


for _name in RELEASES:
    for _part in PARTS:
        register(_name, _part)
for _part in PARTS_OF_OLDEST:
    register(names()[0], _part)
