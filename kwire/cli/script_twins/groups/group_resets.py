"""The new offsets of a group that is reset by one of the scripts for groups.

Responsible for: the options and scenarios (--to-earliest, --shift-by, --to-datetime ...), the partitions, the CSV form.
Must not depend on: how offsets are committed.
"""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kwire.cli.admin import groups as admin
from kwire.cli.admin.offsets import EARLIEST, LATEST, list_offsets
from kwire.cli.admin.topics import TopicDescription, describe_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.java.names import partition_order
from kwire.cli.java.options import Option, Parsed, Wrong
from kwire.cli.script_twins.common import warn
from kwire.errors import Code, KafkaError

Place = tuple[str, int]

RESET_OPTIONS: Final = (
    Option("dry-run", "Only show the offsets that --reset-offsets would set."),
    Option("execute", "Set the offsets that --reset-offsets computes."),
    Option("export", "Print the new offsets as CSV, which --from-file reads."),
    Option("to-earliest", "Move to the oldest record."),
    Option("to-latest", "Move to the end."),
    Option("to-offset", "Move to this offset.", "OFFSET", number=True),
    Option("to-datetime", "Move to the first record at or after a time: YYYY-MM-DDThh:mm:ss.sss.", "TIME"),
    Option("from-file", "Move to the offsets of a CSV file.", "FILE"),
)
# Of groups that commit offsets; a share group has start offsets.
RESET_OPTIONS_OF_COMMITTED: Final = (
    Option("to-current", "Move to the committed offset, or to the end where there is none."),
    Option("shift-by", "Move by so many records; negative to go back.", "N", number=True),
    Option("by-duration", "Move to the first record younger than this: PnDTnHnMnS.", "DURATION"),
)


def plan(parsed: Parsed, cluster: Cluster, group: str, group_count: int) -> dict[Place, int]:
    """Work out the new offset of each partition. Raises Wrong, KafkaError; ends with Failure."""
    return plan_from(parsed, cluster, group, admin.committed_offsets(cluster, group), group_count=group_count)


def plan_from(
    parsed: Parsed, cluster: Cluster, group: str, committed: Mapping[Place, admin.Committed], *, group_count: int
) -> dict[Place, int]:
    """The same with given current offsets, as a share group has no committed ones."""
    if parsed.has("from-file"):
        places: Sequence[Place] = ()  # those of the file
    elif parsed.has("all-topics"):
        places = list(committed)
    else:
        places = partitions_of(parsed, cluster, parsed.values("topic"), unknown_is_fatal=True)
    return plan_of(parsed, cluster, group, committed, places, group_count=group_count)


def plan_of(
    parsed: Parsed,
    cluster: Cluster,
    group: str,
    committed: Mapping[Place, admin.Committed],
    places: Sequence[Place],
    *,
    group_count: int,
) -> dict[Place, int]:
    """The same for partitions that are known; with --from-file those of the file count."""
    if parsed.has("from-file"):
        return _from_file(parsed, cluster, group, group_count)
    for option, when in (("to-earliest", EARLIEST), ("to-latest", LATEST)):
        if parsed.has(option):
            return _looked_up(cluster, places, when)
    if parsed.has("to-datetime"):
        return _at_time(cluster, places, _milliseconds_of(parsed.text("to-datetime")))
    if parsed.has("by-duration"):
        return _at_time(cluster, places, time.time_ns() // 1_000_000 - _duration_ms(parsed.text("by-duration")))
    if parsed.has("to-current"):
        # As it is, even beyond the end of the partition.
        current = {place: committed[place].offset for place in places if place in committed}
        return current | _looked_up(cluster, [place for place in places if place not in committed], LATEST)
    return _in_range(cluster, _moved(parsed, committed, places))


def _moved(parsed: Parsed, committed: Mapping[Place, admin.Committed], places: Sequence[Place]) -> dict[Place, int]:
    """The targets of --to-offset and --shift-by, not yet limited to the range of the log."""
    if parsed.has("to-offset"):
        return dict.fromkeys(places, parsed.number("to-offset") or 0)
    shift = parsed.number("shift-by") or 0
    for topic, partition in places:
        if (topic, partition) not in committed:
            parsed.refuse(
                f"Cannot shift offset for partition {topic}-{partition} since there is no current committed offset"
            )
    return {place: committed[place].offset + shift for place in places}


def partitions_of(parsed: Parsed, cluster: Cluster, words: Sequence[str], *, unknown_is_fatal: bool) -> list[Place]:
    """Read topic and topic:0,1. A topic that does not exist raises KafkaError, or is returned as partition -1."""
    whole: list[str] = []
    places: list[Place] = []
    for word in words:
        topic, colon, numbers = word.partition(":")
        if not colon:
            whole.append(topic)
            continue
        if not numbers or ":" in numbers:
            parsed.refuse(f"Invalid topic arg '{word}', expected topic name and partitions")
        for number in numbers.split(","):
            if not number.isdecimal():
                parsed.refuse(f"Invalid partition '{number}' specified in topic arg '{word}''")
            places.append((topic, int(number)))
    names = sorted({*whole, *(topic for topic, _ in places)})
    described = describe_topics(cluster, names)
    for topic in whole:
        found = described[topic]
        if isinstance(found, TopicDescription):
            places += [(topic, item.partition) for item in found.partitions]
        elif unknown_is_fatal:
            raise found
        else:
            places.append((topic, -1))
    if unknown_is_fatal:
        _refuse_missing(places, described)
    return places


def _refuse_missing(places: Sequence[Place], described: Mapping[str, TopicDescription | KafkaError]) -> None:
    missing = []
    for topic, partition in places:
        found = described[topic]
        if isinstance(found, KafkaError) or partition not in [item.partition for item in found.partitions]:
            missing.append(f"{topic}-{partition}")
    if missing:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f'The partitions "{",".join(missing)}" do not exist')


def csv_of(plans: Mapping[str, Mapping[Place, int]], *, with_group: bool) -> str:
    """Write the new offsets as --from-file reads them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for group, offsets in plans.items():
        for (topic, partition), offset in offsets.items():
            writer.writerow([group, topic, partition, offset] if with_group else [topic, partition, offset])
    return text.getvalue()


def _from_file(parsed: Parsed, cluster: Cluster, group: str, group_count: int) -> dict[Place, int]:
    path = parsed.text("from-file")
    try:
        rows = [row for row in csv.reader(Path(path).read_text(encoding="utf-8").splitlines()) if row]
    except OSError:
        raise Wrong(f"java.io.IOException: Unable to read file {path}") from None
    wanted: dict[Place, int] = {}
    for row in rows:
        name, *rest = row if len(row) == 4 else [group, *row]
        if len(row) == 3 and group_count > 1:
            raise Wrong(f"{path}: with several groups each line is group,topic,partition,offset")
        try:
            topic, partition, offset = rest[0], int(rest[1]), int(rest[2])
        except (ValueError, IndexError):
            raise Wrong(f"{path}: {','.join(row)!r} is not [group,]topic,partition,offset") from None
        if name == group:
            wanted[topic, partition] = offset
    if not wanted:
        print(f"\nError: No reset plan for group {group} found.")
    return _in_range(cluster, wanted)


def _looked_up(cluster: Cluster, places: Sequence[Place], when: int) -> dict[Place, int]:
    found = list_offsets(cluster, dict.fromkeys(places, when))
    offsets = {}
    for place in places:
        offset = found[place]
        if isinstance(offset, KafkaError):
            raise offset
        offsets[place] = offset
    return offsets


def _at_time(cluster: Cluster, places: Sequence[Place], timestamp_ms: int) -> dict[Place, int]:
    offsets = _looked_up(cluster, places, timestamp_ms)
    late = partition_order(place for place, offset in offsets.items() if offset < 0)
    for topic, partition in late:
        print(f"\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset.")
    return offsets | _looked_up(cluster, late, LATEST)


def _in_range(cluster: Cluster, wanted: Mapping[Place, int]) -> dict[Place, int]:
    first = _looked_up(cluster, list(wanted), EARLIEST)
    last = _looked_up(cluster, list(wanted), LATEST)
    offsets = {}
    for place, offset in wanted.items():
        name = f"{place[0]}-{place[1]}"
        if offset > last[place]:
            warn(
                f"WARN New offset ({offset}) is higher than latest offset for topic partition {name}."
                f" Value will be set to {last[place]}"
            )
        elif offset < first[place]:
            warn(
                f"WARN New offset ({offset}) is lower than earliest offset for topic partition {name}."
                f" Value will be set to {first[place]}"
            )
        offsets[place] = min(max(offset, first[place]), last[place])
    return offsets


def _milliseconds_of(text: str) -> int:
    """Read YYYY-MM-DDThh:mm:ss.sss with an optional zone, UTC when there is none. Raises Wrong."""
    if "T" not in text:
        raise Wrong(
            "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format"
        )
    zoned = text if re.search(r"T.*[Z+-]", text) else f"{text}Z"
    if not re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}T\d{1,2}:\d{2}:\d{2}\.\d{1,3}(Z|[+-]\d{2}(:?\d{2})?)", zoned):
        raise Wrong(f'java.text.ParseException: Unparseable date: "{zoned}"')
    try:
        moment = datetime.fromisoformat(re.sub(r"\.(\d{1,3})", lambda found: f".{found[1]:0<3}", zoned))
    except ValueError:
        raise Wrong(f'java.text.ParseException: Unparseable date: "{zoned}"') from None
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def _duration_ms(text: str) -> int:
    """Read ISO 8601: P1DT2H3M4.5S. Raises Wrong."""
    found = re.fullmatch(
        r"([+-]?)P(?=.)(?:([+-]?\d+)D)?(?:T(?=.)(?:([+-]?\d+)H)?(?:([+-]?\d+)M)?(?:([+-]?\d+(?:\.\d+)?)S)?)?",
        text.upper(),
    )
    if found is None:
        raise Wrong("Text cannot be parsed to a Duration")
    sign, days, hours, minutes, seconds = found.groups()
    total_s = int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)
    return int(total_s * 1000) * (-1 if sign == "-" else 1)
