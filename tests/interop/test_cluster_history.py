"""The checker of cluster runs finds each broken promise, and nothing in a history where all were kept."""

from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka", reason="cluster runs need the clients of the interop suite")

from interop.cluster.faults import KINDS, schedule
from interop.cluster.history import End, History, Kind, Sent, Where, check, check_copies
from interop.cluster.replicas import compare, partition_directories
from kwire.wire.batches.records import Record, build_batch

T = Where("t", 0)


def a_history() -> History:
    """Two acknowledged records of an idempotent writer, one unanswered, and two transactions."""
    history = History(writers={"i": Kind.IDEMPOTENT, "p": Kind.PLAIN, "x": Kind.TRANSACTIONAL})
    for sequence in range(3):
        history.send(Sent("i", sequence))
    history.acknowledge("i:0", T, 0)
    history.acknowledge("i:1", T, 1)
    for sequence, transaction in enumerate((1, 1, 2)):
        history.send(Sent("x", sequence, transaction=transaction))
    history.acknowledge("x:0:1", T, 2)
    history.acknowledge("x:1:1", T, 3)
    history.ends["x", 1] = End.COMMITTED
    history.ends["x", 2] = End.ABORTED
    history.see(T, 0, "i:0")
    return history


STORED = [(0, "i:0"), (1, "i:1"), (2, "x:0:1"), (3, "x:1:1"), (5, "x:2:2"), (7, "i:2")]
VISIBLE = [(2, "x:0:1"), (3, "x:1:1")]


def promises(history: History, stored=STORED, visible=VISIBLE) -> set[str]:
    return {one.promise for one in check(history, {T: stored}, {T: visible})}


def without(records, value):
    return [(offset, each) for offset, each in records if each != value]


def test_a_history_in_which_every_promise_was_kept_has_no_violation() -> None:
    assert promises(a_history()) == set()


def test_a_record_that_was_not_acknowledged_may_be_missing() -> None:
    assert promises(a_history(), without(STORED, "i:2")) == set()


@pytest.mark.parametrize(
    ("stored", "promise"),
    [
        (without(STORED, "i:1"), "lost"),
        ([*without(STORED, "i:1"), (8, "i:1")], "moved"),
        ([*STORED, (8, "i:2")], "duplicated"),
        ([*STORED, (8, "z:0")], "never sent"),
        ([(0, "i:0"), (1, "i:1"), (2, "x:0:1"), (3, "x:1:1"), (5, "i:2"), (6, "x:2:2"), (7, "i:0")], "out of order"),
        ([(0, "i:1"), *STORED[2:]], "read and gone"),
    ],
)
def test_a_broken_promise_of_the_log_is_found(stored, promise) -> None:
    assert promise in promises(a_history(), stored)


def test_a_plain_writer_may_repeat_itself() -> None:
    history = a_history()
    history.send(Sent("p", 0))
    history.acknowledge("p:0", T, 9)
    assert promises(history, [*STORED, (8, "p:0"), (9, "p:0")]) == set()


@pytest.mark.parametrize(
    ("visible", "promise"),
    [
        (without(VISIBLE, "x:1:1"), "committed and not visible"),
        ([*VISIBLE, (5, "x:2:2")], "aborted and visible"),
    ],
)
def test_a_transaction_that_is_not_what_its_end_says_is_found(visible, promise) -> None:
    assert promises(a_history(), visible=visible) == {promise}


def test_a_transaction_of_unknown_end_is_visible_as_a_whole_or_not_at_all() -> None:
    history = a_history()
    history.ends["x", 1] = End.UNKNOWN
    assert promises(history) == set()
    assert promises(history, visible=[]) == set()
    assert promises(history, visible=VISIBLE[:1]) == {"not atomic"}


def test_an_offset_that_changes_while_it_is_read_is_found() -> None:
    history = a_history()
    history.see(T, 0, "i:1")
    assert promises(history) == {"read again"}


def test_copies_are_compared_as_multisets() -> None:
    assert check_copies(["a", "b"], ["b", "a"]) == []
    assert [str(one) for one in check_copies(["a", "b"], ["a", "a"])] == ["not copied: b", "copied again: a"]


def write_log(folder: Path, *values: bytes) -> None:
    folder.mkdir(parents=True)
    batch = build_batch([Record(i, 0, None, value, ()) for i, value in enumerate(values)])
    (folder / "00000000000000000000.log").write_bytes(bytes(batch))


def test_replicas_are_compared_byte_for_byte_and_by_topic(tmp_path) -> None:
    for node_id in (1, 2):
        write_log(tmp_path / str(node_id) / "same-0", b"a", b"b")
        write_log(tmp_path / str(node_id) / "other-0", b"a", b"b" if node_id == 1 else b"c")
        write_log(tmp_path / str(node_id) / "__cluster_metadata-0", bytes([node_id]))
        (tmp_path / str(node_id) / "gone-0.abc-delete").mkdir()
    data = {1: tmp_path / "1", 2: tmp_path / "2"}
    assert set(partition_directories(data[1])) == {"same-0", "other-0"}
    (found,) = compare(data)
    assert found.promise == "replicas differ"
    assert "other-0: brokers 1 and 2" in found.text
    assert compare(data, only=["same"]) == []


def test_segments_are_joined_before_they_are_compared(tmp_path) -> None:
    write_log(tmp_path / "1" / "t-0", b"a")
    content = (tmp_path / "1" / "t-0" / "00000000000000000000.log").read_bytes()
    (tmp_path / "2" / "t-0").mkdir(parents=True)
    (tmp_path / "2" / "t-0" / "00000000000000000000.log").write_bytes(content[:40])
    (tmp_path / "2" / "t-0" / "00000000000000000009.log").write_bytes(content[40:])
    assert compare({1: tmp_path / "1", 2: tmp_path / "2"}) == []


def test_a_seed_gives_the_same_faults() -> None:
    def faults(seed):
        return schedule(seed, 20, brokers=(1, 2, 3), controllers=(3000,), kinds=KINDS)

    assert faults(4) == faults(4)
    assert faults(4) != faults(5)
    assert {each.kind for each in faults(4)} <= set(KINDS)


def test_a_log_that_brokers_write_by_themselves_may_end_early_at_a_broker_that_stopped(tmp_path) -> None:
    write_log(tmp_path / "1" / "t-0", b"a")
    write_log(tmp_path / "2" / "t-0", b"a")
    file = tmp_path / "2" / "t-0" / "00000000000000000000.log"
    file.write_bytes(file.read_bytes() * 2)
    data = {1: tmp_path / "1", 2: tmp_path / "2"}
    assert len(compare(data)) == 1
    assert compare(data, growing=["t"]) == []
    file.write_bytes(b"x" + file.read_bytes()[1:])
    assert len(compare(data, growing=["t"])) == 1
