"""The floor: the same bytes through bare sockets and files in Python, with nothing of a broker in between."""

import os
import socket
import tempfile
import threading
import time
from pathlib import Path

from crc32c import crc32c

_CHUNK = 1 << 20


def receive_and_write(total_mb: int) -> dict[str, float]:
    """CPU seconds per GB of: recv alone, recv + CRC-32C + write."""
    plain = _receive(total_mb, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "floor"
        _fill(path, total_mb)  # the first touch of memory pages costs more than all later ones
        path.unlink()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            full = _receive(total_mb, fd)
        finally:
            os.close(fd)
    return {"receive": plain, "receive_crc_write": full}


def send_file(total_mb: int) -> float:
    """CPU seconds per GB of sendfile from a warm page cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "floor"
        _fill(path, total_mb)
        near, far = socket.socketpair()
        drain = threading.Thread(target=_drain, args=(far,))
        drain.start()
        fd = os.open(path, os.O_RDONLY)
        size, at = path.stat().st_size, 0
        started = time.thread_time()
        while at < size:
            at += os.sendfile(near.fileno(), fd, at, _CHUNK)
        used = time.thread_time() - started
        os.close(fd)
        near.close()
        drain.join()
        return used / (size / 1e9)


def _receive(total_mb: int, fd: int | None) -> float:
    near, far = socket.socketpair()
    feeder = threading.Thread(target=_feed, args=(far, total_mb))
    feeder.start()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    got = 0
    started = time.thread_time()
    while count := near.recv_into(view):
        got += count
        if fd is not None:
            crc32c(view[:count])
            os.write(fd, view[:count])
    used = time.thread_time() - started
    feeder.join()
    near.close()
    return used / (got / 1e9)


def _feed(far: socket.socket, total_mb: int) -> None:
    chunk = os.urandom(_CHUNK)
    for _ in range(total_mb):
        far.sendall(chunk)
    far.close()


def _drain(far: socket.socket) -> None:
    buffer = bytearray(_CHUNK)
    while far.recv_into(buffer):
        pass
    far.close()


def _fill(path: Path, total_mb: int) -> None:
    chunk = os.urandom(_CHUNK)
    with path.open("wb") as file:
        for _ in range(total_mb):
            file.write(chunk)
