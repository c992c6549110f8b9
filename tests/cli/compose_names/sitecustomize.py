"""Names and ports as docker compose gives them to containers, for every Python that is started with this on its path.

COMPOSE_NAMES holds NAME:PORT=HOST:PORT, with blanks between.
"""

import os
import socket

_TABLE = dict(pair.split("=") for pair in os.environ.get("COMPOSE_NAMES", "").split())
_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, port, *args, **kwargs):
    found = _TABLE.get(f"{host}:{port}")
    if found is not None:
        host, _, port = found.rpartition(":")
    return _getaddrinfo(host, port, *args, **kwargs)


socket.getaddrinfo = getaddrinfo
