"""Random uuids, as Kafka's Uuid.randomUuid makes them."""

import os
from uuid import UUID

from kwire.types import random_uuid, uuid_text


def test_a_uuid_whose_text_would_begin_with_a_dash_is_not_taken():
    drawn = iter([b"\xfb" + bytes(15), bytes(range(16))])

    uuid = random_uuid(lambda count: next(drawn)[:count])

    assert uuid_text(bytes([0xFB, *bytes(15)])).startswith("-")
    assert uuid == UUID(bytes=bytes(range(16)), version=4).bytes


def test_random_uuids_are_of_version_4():
    assert {UUID(bytes=random_uuid(os.urandom)).version for _ in range(100)} == {4}
