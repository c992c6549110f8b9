"""``kafka.requests``: what clients sent, from the test's thread."""

import threading

import pytest

from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import parse_addresses
from kwire.testing import RequestNeverSent


def ask(kafka):
    with Cluster(parse_addresses(kafka.bootstrap_servers), timeout_s=10) as cluster:
        return list_topics(cluster)


def test_requests_are_shown_with_their_answers(kafka):
    kafka.create_topic("orders")
    ask(kafka)
    (request,) = kafka.requests.last(api="Metadata")
    assert request["client_id"] == "kwire"
    assert request["request"]["topics"] is None
    assert [topic["name"] for topic in request["response"]["topics"]] == ["orders"]
    assert request["outcome"] == "answered"
    kafka.requests.clear()
    assert kafka.requests.last() == []


def test_a_request_of_another_thread_is_waited_for(kafka):
    asker = threading.Timer(0.05, ask, [kafka])
    asker.start()
    kafka.requests.wait_for(api="Metadata", fields={"topics": None})
    asker.join()


def test_the_error_of_a_wait_shows_the_requests_instead(kafka):
    ask(kafka)
    with pytest.raises(RequestNeverSent, match=r"was not received in 0.01 s; the last requests:\n.*ApiVersions v\d"):
        kafka.requests.wait_for(api="Produce", timeout=0.01)


def test_offsets_and_names_of_topics_are_read(kafka):
    kafka.create_topic("orders", 2)
    assert kafka.offsets("orders") == [(0, 0), (0, 0)]
    assert kafka.offsets("none") == []
    assert kafka.topics() == ["orders"]
