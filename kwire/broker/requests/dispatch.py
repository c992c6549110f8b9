"""Passes each decoded request to its handler.

Responsible for: ``dispatch``, through which every decoded request passes, and the hooks around it. Must not depend on:
sockets, what a single API does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from kwire.broker.clients.hooks import DispatchHook
from kwire.broker.requests.context import Context
from kwire.broker.requests.table import Api


async def dispatch(api: Api, context: Context, request: Any) -> Any:
    """The response message, or None where the protocol sends no reply (Produce with acks=0).

    Raises what the handler raises: refusals of single items are caught inside handlers, the rest by the connection.
    """
    hooks = context.broker.hooks.dispatch
    if hooks and api.key in hooks:
        return await _proceed(hooks[api.key], api, context, request)
    response = api.handler(context, request)
    return await response if api.waits else response


async def _proceed(hooks: Sequence[DispatchHook], api: Api, context: Context, request: Any) -> Any:
    if hooks:
        return await hooks[0](context, request, partial(_proceed, hooks[1:], api, context, request))
    response = api.handler(context, request)
    return await response if api.waits else response
