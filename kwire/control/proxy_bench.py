"""The test bench of a proxy: rules, the request log and recordings of the requests that pass.

Responsible for: connecting these with a proxy. Must not depend on: HTTP, a test framework.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NoReturn

from kwire.broker.clients.hooks import HookedServer
from kwire.broker.clock import Clock
from kwire.broker.requests.table import Api, ApiTable
from kwire.control.requests.recording import Recordings
from kwire.control.requests.request_log import RequestLog
from kwire.faults.injector import Injector
from kwire.faults.reach import check_effect
from kwire.faults.rules import Rule, RuleError
from kwire.proxy.proxy import Proxy
from kwire.wire.codec import api_keys, api_name, request_class


class ProxyBench(Recordings):
    """The HTTP interface and ``kwire.testing`` each have one and call the same methods."""

    def __init__(self, proxy: Proxy, *, requests_kept: int = 1000) -> None:
        self.proxy = proxy
        self.log = RequestLog(proxy, requests_kept)
        self.injector = Injector(
            proxy, self._check_rule, on_fired=self.log.note_fault, why_no_files="a proxy has no files to disturb"
        )
        proxy.notes_topic_names = True

    @property
    def clock(self) -> Clock:
        """The clock of rules; the brokers have their own."""
        return self.proxy.clock

    def _recorded(self) -> HookedServer:
        return self.proxy

    def nodes(self) -> list[dict[str, Any]]:
        """Give the nodes of the cluster that are known, with the addresses at which clients reach them."""
        return [{"node": str(node), "listener": str(at)} for node, at in self.proxy.nodes.items()]

    def connections(self) -> list[dict[str, Any]]:
        """Give peer, node and number of requests of each client that is connected."""
        return [
            {"peer": each.client.peer, "node": each.client.endpoint.name, "requests": each.requests}
            for each in self.proxy.connections
        ]

    def _check_rule(self, rule: Rule) -> None:
        """Raise RuleError for a rule that no request through this proxy can trigger.

        The listener is the address of a node, which may become known later.
        """
        listener = rule.scope.listener
        if listener is not None:
            nodes = {str(at): str(node) for node, at in self.proxy.nodes.items()}
            if listener in nodes and listener not in nodes.values():
                raise RuleError(f"listener {listener} is the proxy's own address: name its node, {nodes[listener]}")
            if not _is_address(listener):
                raise RuleError(f"the listener of a proxy is a node, {' or '.join(nodes.values())}, not {listener!r}")
        check_effect(rule, [_decodable()])

    def close(self) -> None:
        """Disarm all rules and stop recording."""
        if self.recorder is not None:
            self.stop_recording()
        self.log.stop()
        self.injector.clear()


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit()


@cache
def _decodable() -> ApiTable:
    """Make a table of every API that has a spec, for the checks of rules."""
    return {key: Api(key, api_name(key), request_class(key).VERSIONS, _no_handler) for key in api_keys()}


def _no_handler() -> NoReturn:
    raise AssertionError("a proxy handles no requests")
