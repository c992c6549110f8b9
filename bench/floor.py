"""The floor: the same bytes through bare sockets and files in Python, with nothing of a broker in between."""

import os
import socket
import tempfile
import threading
import time
from pathlib import Path

from crc32c import crc32c

_CHUNK = 1 << 20
_PING = b"\0" * 200
# socket.send.buffer.bytes; what is received goes into a buffer of the system's choice.
_SEND_BUFFER = 102_400


def all_of(total_mb: int) -> dict[str, float]:
    return {**receive_and_write(total_mb), **send_file(total_mb), **ping_pong(5000)}


def receive_and_write(total_mb: int) -> dict[str, float]:
    """CPU seconds per GB of: recv alone; recv + CRC-32C + write, with the pages of the file touched before."""
    plain = _receive(total_mb, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "floor"
        _fill(path, total_mb)
        path.unlink()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            full = _receive(total_mb, fd)
        finally:
            os.close(fd)
    return {"receive, CPU s/GB": plain, "receive + CRC + write, CPU s/GB": full}


def send_file(total_mb: int) -> dict[str, float]:
    """CPU seconds per GB of sendfile from a warm page cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "floor"
        _fill(path, total_mb)
        near, far = _pair()
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
        return {"sendfile, CPU s/GB": used / (size / 1e9)}


def ping_pong(count: int) -> dict[str, float]:
    """A request and a reply of 200 bytes, one at a time."""
    near, far = _pair()
    echo = threading.Thread(target=_echo, args=(far,))
    echo.start()
    started, used = time.perf_counter(), time.thread_time()
    for _ in range(count):
        near.send(_PING)
        near.recv(4096)
    seconds, used = time.perf_counter() - started, time.thread_time() - used
    near.close()
    echo.join()
    return {"send + receive 200 bytes, CPU µs": used / count * 1e6, "ping-pongs/s": count / seconds}


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection on this machine."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        far = socket.create_connection(listening.getsockname())
        near, _ = listening.accept()
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def _receive(total_mb: int, fd: int | None) -> float:
    near, far = _pair()
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


def _echo(far: socket.socket) -> None:
    while ping := far.recv(4096):
        far.send(ping)
    far.close()


def _fill(path: Path, total_mb: int) -> None:
    chunk = os.urandom(_CHUNK)
    with path.open("wb") as file:
        for _ in range(total_mb):
            file.write(chunk)
