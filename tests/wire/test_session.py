from __future__ import annotations

import pytest

from kwire.errors import UnsupportedVersion
from kwire.wire.session import Served, Session

TABLE = {0: Served("Produce", 3, 13), 18: Served("ApiVersions", 0, 4)}


@pytest.mark.parametrize("version", [3, 8, 13])
def test_a_served_version_is_admitted_without_any_api_versions_before_it(version):
    assert Session(TABLE).admit(0, version)


@pytest.mark.parametrize("version", [-1, 0, 2, 14, 32767])
def test_another_version_is_refused_with_the_range_that_is_served(version):
    with pytest.raises(UnsupportedVersion, match="Produce is served at versions 3 to 13") as refusal:
        Session(TABLE).admit(0, version)
    assert (refusal.value.api_key, refusal.value.api_version) == (0, version)


@pytest.mark.parametrize("key", [-1, 4, 95, 32767])
def test_an_unknown_key_is_refused(key):
    with pytest.raises(UnsupportedVersion, match=f"key {key}"):
        Session(TABLE).admit(key, 0)


@pytest.mark.parametrize("version", [-1, 5, 32767])
def test_api_versions_at_an_unknown_version_is_to_be_answered_and_not_refused(version):
    assert not Session(TABLE).admit(18, version)
