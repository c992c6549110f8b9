"""Put ``admin_cases`` to an Apache Kafka broker and keep what it answers: ``python record_apache_answers.py
HOST:PORT``.

The broker must be fresh, with the settings of ``admin_cases.SETTINGS``. Run again when the Kafka release changes, and
read the difference.
"""

import gzip
import json
import socket
import sys
import time
from pathlib import Path

from admin_cases import cases
from apache_answers import comparable, new_ids

from kwire.wire import codec

ANSWERS = Path(__file__).with_name("apache_answers.json.gz")
# A dynamic config takes a moment until Apache's own broker has heard of it from its controller.
_SETTLE_S = 0.4


def main(address):
    host, port = address.split(":")
    ids = {}
    answers = []
    for label, version, request in cases():
        made = request(ids) if callable(request) else request
        response = _ask(host, int(port), version, made)
        ids.update(new_ids(response) if not getattr(made, "validate_only", False) else {})
        answers.append([label, version, comparable(response)])
        if any(word in label for word in ("change", "alter", "create", "quota ", "scram")):
            time.sleep(_SETTLE_S)
    # No time stamp inside, so that the same answers are the same file.
    with ANSWERS.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        for answer in answers:
            packed.write(json.dumps(answer, sort_keys=True).encode("utf-8") + b"\n")


def _ask(host, port, version, request):
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(codec.encode_request(request.KEY, version, 1, "recorder", request))
        frame = _read(connection, int.from_bytes(_read(connection, 4), "big"))
    return codec.decode_response(request.KEY, version, memoryview(frame))[1]


def _read(connection, count):
    content = b""
    while len(content) < count:
        chunk = connection.recv(count - len(content))
        if not chunk:
            raise EOFError("the broker closed the connection")
        content += chunk
    return content


if __name__ == "__main__":
    main(sys.argv[1])
