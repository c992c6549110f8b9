"""TLS in loads: whether the listener under measurement uses it is in the environment of the load's process.

Certificates are elliptic (P-256), and no session is resumed.
"""

import functools
import os
import socket
import ssl

# The file of the authority that issued the broker's certificate; without it the listener is plain.
CA_VARIABLE = "KWIRE_BENCH_CA"


def librdkafka(bootstrap: str) -> dict[str, object]:
    """The settings by which a client of librdkafka connects."""
    config: dict[str, object] = {"bootstrap.servers": bootstrap}
    ca = os.environ.get(CA_VARIABLE)
    return config if ca is None else config | {"security.protocol": "SSL", "ssl.ca.location": ca}


def wrapped(plain: socket.socket, host: str) -> socket.socket:
    """The socket after a handshake, or as it is where the listener is plain."""
    ca = os.environ.get(CA_VARIABLE)
    return plain if ca is None else _context(ca).wrap_socket(plain, server_hostname=host)


@functools.cache
def _context(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)
