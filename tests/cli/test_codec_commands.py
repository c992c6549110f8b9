"""``kwire codec show`` and ``kwire codec decode``."""

import json

import pytest
from click.testing import CliRunner

from kwire.cli.dump.codec import codec
from kwire.wire.codec import RequestHeader, encode, encode_request, encode_response
from kwire.wire.messages import ApiVersionsRequest, MetadataResponse, TopicRecord


def run(*arguments, stdin=None):
    return CliRunner().invoke(codec, arguments, input=stdin)


def decoded(*arguments, stdin=None):
    result = run("decode", *arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_show_takes_an_api_by_name_or_key():
    by_name, by_key = run("show", "fetch", "12"), run("show", "1", "12")
    assert by_name.output == by_key.output
    assert "FetchRequest version 12 (of 4-18, API key 1)\n" in by_name.output
    assert "\nFetchResponse version 12" in by_name.output
    assert "    partitions            " in by_name.output


def test_show_takes_the_highest_version_if_none_is_given():
    assert run("show", "PartitionRecord").output.startswith("PartitionRecord version 2 (of 0-2, record type 3)\n")


def test_show_source_prints_generated_code():
    assert "def decode_TopicRecord_v0(b, p, exact):" in run("show", "TopicRecord", "--source").output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("Fetsh",), "did you mean Fetch?"),
        (("topicrecrd",), "did you mean TopicRecord?"),
        (("4",), "no API has key 4"),
        (("FetchRequest", "3"), "FetchRequest has versions 4-18, not 3"),
    ],
)
def test_show_reports_wrong_arguments(arguments, reason):
    result = run("show", *arguments)
    assert result.exit_code == 2
    assert reason in result.output


def test_decode_reads_a_request_frame_with_and_without_size(tmp_path):
    frame = encode_request(18, 3, 5, "kcat", ApiVersionsRequest(client_software_name="kcat"))
    expected = {
        "message": "ApiVersionsRequest",
        "version": 3,
        "correlationId": 5,
        "clientId": "kcat",
        "body": {"clientSoftwareName": "kcat", "clientSoftwareVersion": ""},
    }
    assert decoded(frame.hex()) == expected
    assert decoded(frame[4:].hex(":")) == expected
    (tmp_path / "frame.bin").write_bytes(frame)
    assert decoded(str(tmp_path / "frame.bin")) == expected
    assert decoded("-", stdin=frame.hex("\n")) == expected


def test_decode_reads_responses_and_bodies():
    (frame,) = encode_response(RequestHeader(3, 12, 9, None, 0), MetadataResponse(cluster_id="c"))
    response = decoded(frame.hex(), "--response", "--message", "Metadata", "--version", "12")
    assert (response["correlationId"], response["body"]["clusterId"]) == (9, "c")
    record = encode(TopicRecord(name="t"), 0).hex()
    assert decoded(record, "--body", "--message", "TopicRecord", "--version", "0") == {
        "message": "TopicRecord",
        "version": 0,
        "body": {"name": "t", "topicId": "AAAAAAAAAAAAAAAAAAAAAA"},
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("zz",), "zz is neither hex nor the name of a file"),
        (("00",), "request of 1 bytes has no header"),
        (("0003000100000001ffff7fffffff",), "MetadataRequest v1: topics"),
        (("0003006300000001ffff00",), "MetadataRequest has no version 99, only 0-13"),
        (("00", "--body"), "need --message and --version"),
        (("00", "--body", "--message", "TopicRecord", "--version", "0"), "TopicRecord v0: "),
        (("00", "--response", "--message", "TopicRecord", "--version", "0"), "TopicRecord is not a response"),
        (("00", "--response", "--message", "Fetch", "--version", "4"), "response of 1 bytes has no header"),
    ],
)
def test_decode_reports_wrong_arguments(arguments, reason):
    result = run("decode", *arguments)
    assert result.exit_code != 0
    assert reason in result.output
