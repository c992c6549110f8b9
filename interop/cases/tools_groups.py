"""kafka-consumer-groups, kafka-groups, kafka-get-offsets, kafka-delete-records: the tools that read or move offsets."""

import json
import re
import time

from interop.cases.releases import CURRENT, FOUR, RELEASES, Tools, tools


def consumed(run: Tools, lines: int = 10, *, partitions: int = 1) -> tuple[str, str]:
    """A topic, and a group without members that has read all of it."""
    topic, group = run.topic(partitions=partitions), run.unique("group")
    run.produce(topic, *(f"m{n}" for n in range(lines)))
    run.consume(topic, lines, "--group", group)
    return topic, group


def position(run: Tools, group: str, topic: str) -> int:
    """The committed offset that --describe shows for partition 0."""
    described = run.tool("consumer-groups", "--describe", "--group", group).ok().out
    found = re.search(rf"{group}\s+{topic}\s+0\s+(?:-\s+)?(\d+)\s+", described)
    assert found, described
    return int(found[1])


@tools(releases=RELEASES, smoke=True)
def groups_list_and_describe(run: Tools) -> None:
    topic, group = consumed(run)
    assert group in run.tool("consumer-groups", "--list").ok().lines
    described = run.tool("consumer-groups", "--describe", "--group", group).ok()
    described.prints("CURRENT-OFFSET", "LOG-END-OFFSET", "LAG")
    assert re.search(rf"{group}\s+{topic}\s+0\s+(?:-\s+)?10\s+10\s+0", described.out), described.out


@tools(releases=RELEASES)
def groups_describe_state_members_offsets(run: Tools) -> None:
    topic, group = run.topic(partitions=2), run.unique("live")
    run.produce(topic, "x")
    consumer = run.start_tool("console-consumer", "--topic", topic, "--from-beginning", "--group", group)
    consumer.wait_for("x")
    describe = ("consumer-groups", "--describe", "--group", group)
    run.tool(*describe, "--state").ok().prints("COORDINATOR", "localhost", "Stable")
    members = run.tool(*describe, "--members", "--verbose").ok().prints("ASSIGNMENT", "/127.0.0.1")
    assert re.search(r"\(0,1\)|:0,1|\(0, 1\)", members.out), members.out
    run.tool(*describe, "--offsets").ok().prints(topic, "/127.0.0.1")
    consumer.stop()
    consumer.wait()
    run.tool(*describe, "--state").ok().prints("Empty")


def offsets_from(run: Tools) -> tuple[str, ...]:
    """The option for the server, which had another name in older releases of GetOffsetShell."""
    return ("--broker-list", run.bootstrap) if run.release == "2.8.2" else ()


@tools(releases=RELEASES)
def groups_list_states(run: Tools) -> None:
    _, group = consumed(run, 1)
    listed = run.tool("consumer-groups", "--list", "--state").ok()
    assert re.search(rf"{group}\s+.*Empty", listed.out), listed.out
    run.tool("consumer-groups", "--list", "--state", "Empty").ok().prints(group)
    assert group not in run.tool("consumer-groups", "--list", "--state", "Stable").ok().out


@tools(releases=(*FOUR, "3.9.1"))
def groups_list_types(run: Tools) -> None:
    _, group = consumed(run, 1)
    listed = run.tool("consumer-groups", "--list", "--type").ok()
    assert re.search(rf"{group}\s+Classic", listed.out), listed.out
    run.tool("consumer-groups", "--list", "--type", "classic").ok().prints(group)
    assert group not in run.tool("consumer-groups", "--list", "--type", "consumer").ok().out


@tools()
def groups_tool_lists_all_kinds(run: Tools) -> None:
    _, group = consumed(run, 1)
    listed = run.tool("groups", "--list").ok()
    assert re.search(rf"{group}\s+Classic\s+consumer", listed.out), listed.out
    run.tool("groups", "--list", "--group-type", "classic").ok().prints(group)
    run.tool("groups", "--list", "--protocol", "consumer").ok().prints(group)
    run.tool("groups", "--list", "--consumer").ok().prints(group)
    assert group not in run.tool("groups", "--list", "--group-type", "consumer").ok().out


@tools(releases=(*FOUR, "3.9.1"))
def groups_describe_unknown(run: Tools) -> None:
    described = run.tool("consumer-groups", "--describe", "--group", "no-such-group-at-all")
    described.prints("no-such-group-at-all")


@tools(releases=RELEASES)
def groups_reset_offsets_every_way(run: Tools) -> None:
    topic, group = consumed(run, 10)
    ways = {
        ("--to-earliest",): 0,
        ("--to-latest",): 10,
        ("--to-offset", "4"): 4,
        ("--shift-by", "3"): 7,
        ("--shift-by", "-2"): 5,
        ("--to-current",): 5,
        ("--to-datetime", "2000-01-01T00:00:00.000"): 0,
        ("--by-duration", "P1D"): 0,
        ("--to-offset", "99"): 10,
    }
    for way, expected in ways.items():
        reset = ("consumer-groups", "--reset-offsets", "--group", group, "--topic", topic, *way)
        before = position(run, group, topic)
        dry = run.tool(*reset, "--dry-run").ok()
        assert re.search(rf"{group}\s+{topic}\s+0\s+{expected}", dry.out), (way, dry.out)
        assert position(run, group, topic) == before, way
        run.tool(*reset, "--execute").ok()
        assert position(run, group, topic) == expected, way


@tools(releases=(*FOUR, "3.9.1"))
def groups_reset_export_and_from_file(run: Tools) -> None:
    topic, group = consumed(run, 6)
    exported = run.tool(
        "consumer-groups", "--reset-offsets", "--group", group, "--topic", f"{topic}:0", "--to-offset", "2",
        "--export", "--dry-run",
    ).ok()  # fmt: skip
    assert f'"{topic}",0,2' in exported.out, exported.out
    plan = run.folder / "plan.csv"
    plan.write_text(f'"{topic}",0,3\n')
    reset = ("consumer-groups", "--reset-offsets", "--group", group)
    run.tool(*reset, "--from-file", str(plan), "--execute").ok()
    assert position(run, group, topic) == 3
    run.tool(*reset, "--all-topics", "--to-earliest", "--execute").ok()
    assert position(run, group, topic) == 0


@tools(releases=RELEASES)
def groups_reset_refused_while_active(run: Tools) -> None:
    topic, group = run.topic(), run.unique("busy")
    run.produce(topic, "x")
    consumer = run.start_tool("console-consumer", "--topic", topic, "--from-beginning", "--group", group)
    consumer.wait_for("x")
    reset = run.tool(
        "consumer-groups", "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute"
    )
    reset.prints("inactive")
    run.tool("consumer-groups", "--delete", "--group", group).prints("failed")
    consumer.stop()
    consumer.wait()


@tools(requires=("ConsumerGroupHeartbeat",))
def groups_of_the_new_protocol(run: Tools) -> None:
    topic, group = run.topic(partitions=2), run.unique("new")
    run.produce(topic, "x")
    consumer = run.start_tool(
        "console-consumer", "--topic", topic, "--from-beginning", "--group", group,
        "--command-property", "group.protocol=consumer",
    )  # fmt: skip
    consumer.wait_for("x")
    describe = ("consumer-groups", "--describe", "--group", group)
    run.tool(*describe, "--state", "--verbose").ok().prints("Stable", "uniform")
    run.tool(*describe, "--members", "--verbose").ok().prints("CURRENT-EPOCH", topic)
    run.tool("consumer-groups", "--list", "--type", "consumer").ok().prints(group)
    consumer.stop()
    consumer.wait()
    assert position(run, group, topic) in (0, 1)
    run.tool("consumer-groups", "--delete", "--group", group).ok().prints("was successful")


@tools(releases=RELEASES)
def groups_delete(run: Tools) -> None:
    _, group = consumed(run, 1)
    run.tool("consumer-groups", "--delete", "--group", group).ok().prints("was successful")
    assert group not in run.tool("consumer-groups", "--list").ok().lines
    run.tool("consumer-groups", "--delete", "--group", group).prints(group)


@tools(releases=RELEASES)
def groups_delete_offsets(run: Tools) -> None:
    topic, group = consumed(run, 3)
    deleted = run.tool("consumer-groups", "--delete-offsets", "--group", group, "--topic", topic).ok()
    deleted.prints(topic, "Successful")
    assert topic not in run.tool("consumer-groups", "--describe", "--group", group).out


@tools()
def groups_all_groups_and_timeout(run: Tools) -> None:
    topic, group = consumed(run, 2)
    run.tool("consumer-groups", "--describe", "--all-groups", "--timeout", "10000").ok().prints(group, topic)
    run.tool("consumer-groups", "--describe", "--all-groups", "--state").ok().prints(group)


@tools(releases=RELEASES, smoke=True)
def get_offsets(run: Tools) -> None:
    topic = run.topic(partitions=3)
    run.produce(topic, *map(str, range(9)))
    seen = run.tool("get-offsets", *offsets_from(run), "--topic", topic).ok().lines
    assert len(seen) == 3, seen
    assert sum(int(line.rsplit(":", 1)[1]) for line in seen) == 9, seen
    earliest = (
        run.tool("get-offsets", *offsets_from(run), "--topic", topic, "--time", "-2", "--partitions", "0,1").ok().lines
    )
    assert earliest == [f"{topic}:0:0", f"{topic}:1:0"], earliest


@tools(releases=(*FOUR, "3.9.1"))
def get_offsets_special_times(run: Tools) -> None:
    topic = run.topic()
    run.produce(topic, "a", "b")
    for word, offset in (("earliest", 0), ("latest", 2), ("max-timestamp", None), ("earliest-local", 0)):
        (line,) = run.tool("get-offsets", *offsets_from(run), "--topic", topic, "--time", word).ok().lines
        found = int(line.rsplit(":", 1)[1])
        assert found == offset or (offset is None and found in (0, 1)), (word, line)
    (line,) = run.tool("get-offsets", *offsets_from(run), "--topic", topic, "--time", "0").ok().lines
    assert line == f"{topic}:0:0", line
    future = run.tool(
        "get-offsets", *offsets_from(run), "--topic", topic, "--time", str(int(time.time() * 1000) + 3_600_000)
    ).ok()
    assert future.lines == [], future.lines


@tools(releases=(*FOUR, "3.9.1"))
def get_offsets_patterns(run: Tools) -> None:
    topic = run.topic(partitions=2)
    seen = run.tool("get-offsets", "--topic-partitions", f"{topic}:0-1").ok().lines
    assert seen == [f"{topic}:0:0"], seen
    assert run.tool("get-offsets", *offsets_from(run), "--topic", "no-such-topic-at-all").failed(
        "Could not match any topic"
    )


@tools(releases=RELEASES)
def delete_records(run: Tools) -> None:
    topic = run.topic()
    run.produce(topic, *map(str, range(10)))
    plan = run.folder / "plan.json"
    plan.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": 4}], "version": 1}))
    run.tool("delete-records", "--offset-json-file", str(plan)).ok().prints("low_watermark: 4")
    assert run.consume(topic, 6) == ["4", "5", "6", "7", "8", "9"]
    assert run.tool("get-offsets", *offsets_from(run), "--topic", topic, "--time", "-2").ok().lines == [f"{topic}:0:4"]
    plan.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": 99}], "version": 1}))
    run.tool("delete-records", "--offset-json-file", str(plan)).prints("OffsetOutOfRange")
    plan.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": -1}], "version": 1}))
    run.tool("delete-records", "--offset-json-file", str(plan)).ok().prints("low_watermark: 10")


@tools(releases=(CURRENT,))
def delete_records_unknown_partition(run: Tools) -> None:
    topic = run.topic()
    plan = run.folder / "plan.json"
    plan.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 7, "offset": 4}], "version": 1}))
    run.tool("delete-records", "--offset-json-file", str(plan), timeout_s=150).prints("partition")
