"""kwire log dump against the official kafka-dump-log: the same lines for the same files.

``official_log`` holds files that Apache Kafka 4.3.1 wrote (records of every kind, transactions, a cleaned log, groups,
metadata); ``expected`` in it is what org.apache.kafka.tools.DumpLogSegments of that release printed for them.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from kwire.cli.dump.dump_log import dump_main
from kwire.cli.dump.log import log
from kwire.wire.batches.records import Record, build_batch

DIRECTORY = Path(__file__).parent / "official_log"
CASES = json.loads((DIRECTORY / "expected" / "cases.json").read_text())
LOG_NAME = "00000000000000000000.log"


def _dump(*arguments: object) -> tuple[int, str, str]:
    stdout, stderr = io.StringIO(), io.StringIO()
    code = dump_main([str(argument) for argument in arguments], stdout, stderr)
    return code, stdout.getvalue(), stderr.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_the_output_is_that_of_the_official_tool(name, monkeypatch):
    case = CASES[name]
    monkeypatch.chdir(DIRECTORY)
    code, stdout, stderr = _dump(*case["arguments"])
    assert stdout == (DIRECTORY / "expected" / f"{name}.out").read_text()
    printed, expected = stderr.replace(f"{DIRECTORY}/", ""), case["stderr"]
    # Which file is named first goes by the hash of its whole path there, so with the place of this checkout.
    assert sorted(printed.splitlines()) == sorted(expected.splitlines())
    assert code == case["exit"]


@pytest.fixture
def damaged(tmp_path):
    """Copy a log with its indexes, to be damaged."""
    for name in (LOG_NAME, "00000000000000000000.index", "00000000000000000000.timeindex"):
        shutil.copy(DIRECTORY / "txn-0" / name, tmp_path)
    return tmp_path


def _patch(path: Path, position: int, content: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[position : position + len(content)] = content
    path.write_bytes(whole)


def test_an_index_entry_that_points_to_another_batch_is_reported(damaged):
    index = damaged / "00000000000000000000.index"
    second_offset = int.from_bytes(index.read_bytes()[8:12], "big")
    _patch(index, 8, (second_offset + 1).to_bytes(4, "big"))
    code, stdout, stderr = _dump("--files", index)
    assert code == 0
    assert f"offset: {second_offset + 1} position:" in stdout
    assert stderr == f"Mismatches in :{index}\n  Index offset: {second_offset + 1}, log offset: {second_offset}\n"


def test_a_time_index_that_disagrees_with_the_log_is_reported(damaged):
    index = damaged / "00000000000000000000.timeindex"
    content = index.read_bytes()
    first_ms, second_ms = (int.from_bytes(content[at : at + 8], "big") for at in (0, 12))
    _patch(index, 0, (second_ms + 5).to_bytes(8, "big"))
    stderr = _dump("--verify-index-only", "--files", index)[2]
    assert f"  Index timestamp: {second_ms + 5}, log timestamp: {first_ms}\n" in stderr
    assert f"  Index timestamp: {second_ms}, Previously indexed timestamp: {second_ms + 5}\n" in stderr


def test_a_time_index_entry_for_an_offset_inside_a_batch_is_reported(damaged):
    index = damaged / "00000000000000000000.timeindex"
    offset = int.from_bytes(index.read_bytes()[8:12], "big")
    # The batch before this marker holds several records.
    _patch(index, 8, (offset - 2).to_bytes(4, "big"))
    stderr = _dump("--files", index)[2]
    assert f"Indexed offset: {offset - 2}, found log offset: {offset - 1}\n" in stderr


def test_zeros_behind_the_entries_of_a_preallocated_index_are_passed_over(damaged):
    index = damaged / "00000000000000000000.index"
    before = _dump("--files", index)
    with index.open("ab") as file:
        file.write(bytes(800))
    assert _dump("--files", index) == before


def test_an_index_that_starts_with_zeros_fails_the_sanity_check(damaged):
    index = damaged / "00000000000000000000.index"
    index.write_bytes(bytes(8))
    code, _, stderr = _dump("--index-sanity-check", "--files", index)
    assert code == 1
    assert "Corrupt index found" in stderr


def test_a_flipped_byte_is_printed_as_invalid_and_the_dump_continues(damaged):
    path = damaged / LOG_NAME
    before = _dump("--files", path)[1]
    _patch(path, 100, bytes([path.read_bytes()[100] ^ 1]))
    after = _dump("--files", path)[1]
    assert after == before.replace("isvalid: true", "isvalid: false", 1)


def test_an_incomplete_batch_is_counted_as_invalid_bytes(damaged):
    path = damaged / LOG_NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:70])
    assert _dump("--files", path)[1].endswith(f"Found 70 invalid bytes at the end of {LOG_NAME}\n")


def test_an_impossible_length_ends_the_dump(damaged):
    path = damaged / LOG_NAME
    path.write_bytes(path.read_bytes() + bytes(100))
    code, stdout, stderr = _dump("--files", path)
    assert code == 1
    assert stdout.count("baseOffset") > 1
    assert stderr == f"Found record size 0 smaller than minimum record overhead (14) in file {path}.\n"


def test_a_snapshot_with_a_wrong_crc_is_reported(tmp_path):
    (tmp_path / "00000000000000000005.snapshot").write_bytes(b"\0\1" + bytes(8))
    code, _, stderr = _dump("--files", tmp_path / "00000000000000000005.snapshot")
    assert code == 0
    assert "corrupt" in stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--print-data-log"], "Missing required argument"),
        (["--files", "00000000000000000000.log", "--max-bytes", "many"], "Cannot parse argument 'many'"),
        (["--files", "x.log", "--frobnicate"], "frobnicate is not a recognized option"),
        (["--files", "x.log"], "does not begin with an offset"),
        (["--files", "00000000000000000000.log"], "No such file"),
        (["--files", "x.log", "--value-decoder-class", "com.example.Mine"], "cannot be loaded here"),
        (["--files", "x.log", "--remote-log-metadata-decoder"], "no tiered storage"),
    ],
)
def test_an_error_is_reported_with_exit_code_1(arguments, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, stderr = _dump(*arguments)
    assert code == 1
    assert words in stderr


@pytest.mark.parametrize(
    ("decoder", "shown"), [("IntegerDecoder", "payload: 1802201963"), ("DefaultDecoder", "payload: 6b6b6b6b")]
)
def test_values_can_be_shown_as_numbers_or_bytes(decoder, shown, tmp_path):
    path = tmp_path / LOG_NAME
    path.write_bytes(build_batch([Record(0, 1, None, b"kkkk")]))
    stdout = _dump("--files", path, "--value-decoder-class", f"org.apache.kafka.tools.api.{decoder}")[1]
    assert shown in stdout


def test_the_command_takes_files_as_arguments_and_official_options():
    path = DIRECTORY / "kv-0" / LOG_NAME
    result = CliRunner().invoke(log, ["dump", str(path), "--print-data-log", "--max-bytes", "1000"])
    assert result.exit_code == 0
    assert result.stdout == _dump("--files", path, "--print-data-log", "--max-bytes", "1000")[1]


def test_the_command_asks_for_files():
    result = CliRunner().invoke(log, ["dump", "--deep-iteration"])
    assert result.exit_code == 2
    assert "name the files" in result.stderr
