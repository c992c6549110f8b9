"""The table of a broker that appears as another release.

Responsible for: which rows it has, and at which versions. Must not depend on: what a handler does.

ApiVersions lists what the release lists. Requests are served at the versions that the release and kwire both have. The
others that the release lists, APIs between nodes and versions that Kafka 4.0 removed (KIP-896), are listed too; a
request for one closes the connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kwire.api.rows import Row
from kwire.personas import Persona

# The APIs that older releases list and that have no spec, because 4.0 removed them.
_REMOVED: Final = {4: "LeaderAndIsr", 5: "StopReplica", 6: "UpdateMetadata", 7: "ControlledShutdown"}
_NO_VERSIONS: Final = (0, -1)


def as_release(rows: Iterable[Row], persona: Persona) -> list[Row]:
    """Limit rows to what a release has, in the order in which it lists its APIs."""
    known = {row.key: row for row in rows}
    return [_limited(known.get(key), key, listed) for key, listed in persona.apis.items()]


def _limited(row: Row | None, key: int, listed: tuple[int, int]) -> Row:
    if row is None:
        return Row(key, _REMOVED.get(key, f"API {key}"), _NO_VERSIONS, advertised=listed)
    served = max(row.served[0], listed[0]), min(row.served[1], listed[1])
    # What the release lists does not depend on settings and features of this broker.
    return row._replace(served=served, advertised=listed)
