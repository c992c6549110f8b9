"""GET over HTTP, from a registry that may be slow, gone or hostile.

Responsible for: login, certificates, the size of an answer, the sentence about a failure. Must not depend on: paths,
schemas. The caller limits the time: a request that is cancelled ends its connection.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from typing import Final

import httpx2

from kwire.schemas.address import RegistryAddress
from kwire.schemas.problems import SchemaError, reason
from kwire.schemas.registry import Fetch

BODY_BYTES_MAX: Final = 1 << 20


def make_fetch(address: RegistryAddress) -> Fetch:
    """Make the function that gets a path of a registry. Its connections last as long as the event loop that uses it."""
    headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json", "Accept-Encoding": "identity"}
    if address.token is not None:
        headers["Authorization"] = f"Bearer {address.token}"
    auth = None if address.user is None else httpx2.BasicAuth(address.user, address.password)
    # A redirect is not followed: it would choose where this machine connects to.
    client = httpx2.AsyncClient(verify=_certificates(address), auth=auth, timeout=None, headers=headers)

    async def fetch(path: str) -> tuple[int, bytes]:
        try:
            async with client.stream("GET", address.url + path) as answer:
                body = bytearray()
                async for piece in answer.aiter_raw():
                    body += piece
                    if len(body) > BODY_BYTES_MAX:
                        raise SchemaError(f"{address.name} answered with more than {BODY_BYTES_MAX} bytes")
                return answer.status_code, bytes(body)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise SchemaError(f"{address.name} cannot be reached: {_cause(error)}", about_registry=True) from None

    return fetch


def _certificates(address: RegistryAddress) -> ssl.SSLContext | bool:
    return True if address.ca_file is None else ssl.create_default_context(cafile=address.ca_file)


def _cause(error: BaseException) -> str:
    """Give the text of the error of the system below an error of the client, such as "Connection refused"."""
    for below in _chain(error):
        if isinstance(below, ssl.SSLCertVerificationError):
            return f"its certificate is refused: {below.verify_message}"
        if isinstance(below, OSError) and below.errno:
            # Numbers of the resolver are negative.
            return os.strerror(below.errno) if below.errno > 0 else below.strerror or reason(below)
    return reason(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _chain(each)
        yield error
        error = error.__cause__ or error.__context__
