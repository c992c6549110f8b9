"""Acquisition locks of a share group: shown, and ended by an event."""

import pytest
from sharing import SharePeer, acquired, write

from kwire.control.events import Events
from kwire.control.internal_client import InternalClient
from kwire.control.views import Views
from kwire.server.bindings import Limits
from kwire.server.connections.registry import ConnectionRegistry


@pytest.fixture
async def member(broker):
    peer = SharePeer(broker)
    peer.topic_id = await peer.create_topic("orders")
    await peer.share(peer.topic_id)
    write(broker, "orders", b"a", b"b")
    assert acquired(await peer.fetch(peer.topic_id)) == [(0, 0, 1, 1)]
    return peer


async def test_locks_are_shown_and_ended(broker, member):
    client = InternalClient(broker, member.apis)
    views = Views(broker, ConnectionRegistry(member.apis, broker.clock, Limits), client)
    (lock,) = views.locks("g")
    assert (lock["topic"], lock["partition"], lock["first_offset"], lock["last_offset"]) == ("orders", 0, 0, 1)
    assert (lock["member_id"], lock["deliveries"], lock["ends_in_ms"] > 0) == ("m1", 1, True)
    assert views.locks("other") == []

    assert await Events(broker, client).happen("locks_expired", {"group": "g"}) == {"partitions": 1}
    assert await Events(broker, client).happen("locks_expired", {"group": "g"}) == {"partitions": 0}

    assert views.locks("g") == []
    other = SharePeer(broker, member_id="m2")
    assert acquired(await other.fetch(member.topic_id)) == [(0, 0, 1, 2)]
    (lock,) = views.locks("g")
    assert (lock["member_id"], lock["deliveries"]) == ("m2", 2)
