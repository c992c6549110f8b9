"""The controller of a broker whose controllers are other processes.

Responsible for: ``Controller`` over requests to the active controller, and forwarding clients' requests to it
(KIP-590). Must not depend on: what any request does.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import trio

from kwire.broker.clients.client import Client
from kwire.broker.controller.interface import FinalizedFeatures, QuorumDescription
from kwire.broker.node.command_requests import item_count, request_of, results_of
from kwire.broker.node.controller_channel import ControllerChannel
from kwire.broker.node.metadata_follower import MetadataFollower
from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.metadata import features
from kwire.metadata.commands import Command
from kwire.metadata.decisions.decision import Charge, no_charge
from kwire.metadata.decisions.topics import Created
from kwire.metadata.image import Delta
from kwire.wire import codec
from kwire.wire.message import Message
from kwire.wire.messages import DefaultPrincipalData, EnvelopeRequest

T = TypeVar("T")

# The longest wait until the result of a command is in this broker's image. It usually takes a few ms.
_SHOWN_WITHIN_S: Final = 5.0


class QuorumController:
    """``broker_epoch`` gives the epoch of this broker's registration; -1 before it is registered."""

    def __init__(
        self, *, follower: MetadataFollower, channel: ControllerChannel, broker_epoch: Callable[[], int]
    ) -> None:
        self._follower = follower
        self._channel = channel
        self._broker_epoch = broker_epoch
        # What the active controller serves, by API key, as (lowest, highest); and who follows changes of it.
        self.versions: Mapping[int, tuple[int, int]] = {}
        self.on_versions: list[Callable[[], None]] = []

    @property
    def finalized_features(self) -> FinalizedFeatures:
        levels = features.finalized(self._follower.image, self._follower.kraft_version)
        return FinalizedFeatures(levels, self.applied_offset)

    @property
    def applied_offset(self) -> int:
        """See ``Controller``."""
        return self._follower.applied_offset

    def subscribe(self, on_delta: Callable[[Delta], None]) -> None:
        """Call ``on_delta`` after each change of the image, in the order of subscription."""
        self._follower.subscribe(on_delta)

    async def submit(self, command: Command[T], *, charge: Charge = no_charge) -> Sequence[T | KafkaError]:
        """Send a command of this broker's own to the active controller: see ``Controller.submit``.

        The controller counts what it does against quotas, so ``charge`` is not used.
        """
        del charge
        try:
            request = request_of(command, self._follower.image, self._broker_epoch())
            results = results_of(command, await self._channel.request(request))
        except KafkaError as refusal:
            return [refusal] * item_count(command)
        await self._until_shown(results)
        return results

    async def describe_quorum(self) -> QuorumDescription:
        """Refuse: DescribeQuorum is answered by the active controller, to which it is forwarded."""
        raise KafkaError(Code.UNSUPPORTED_VERSION, "DescribeQuorum is forwarded to the active controller")

    async def forward(
        self, client: Client, request: Message, *, version: int, client_id: str | None, correlation_id: int
    ) -> Any:
        """Send a client's request to the active controller in an Envelope; return the response to the client.

        Raises KafkaError: REQUEST_TIMED_OUT without an active controller, UNSUPPORTED_VERSION for a request that the
        controller does not serve at this version, and the code with which it refuses the envelope.
        """
        frame = codec.encode_request(request.KEY, version, correlation_id, client_id, request)
        principal = DefaultPrincipalData(
            type=client.principal.type,
            name=client.principal.name,
            token_authenticated=client.authenticated_by_token,
        )
        envelope = EnvelopeRequest(
            request_data=frame[4:],
            request_principal=bytes(2) + codec.encode(principal, 0),
            client_host_address=_address_bytes(client.host),
        )
        answer = await self._channel.request(envelope)
        if answer.error_code:
            raise KafkaError(Code(answer.error_code))
        try:
            _, response = codec.decode_response(request.KEY, version, memoryview(answer.response_data or b""))
        except ProtocolViolation as violation:
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR, f"the controller's answer is damaged: {violation}") from None
        return response

    async def learn_versions(self) -> None:
        """Ask the active controller what it serves. Raises KafkaError(REQUEST_TIMED_OUT)."""
        served = await self._channel.api_versions()
        versions = {api.api_key: (api.min_version, api.max_version) for api in served.api_keys}
        if versions != self.versions:
            self.versions = versions
            for on_versions in self.on_versions:
                on_versions()

    async def run(self) -> None:
        """Ask each new active controller what it serves, until cancelled."""
        while True:
            known = self._follower.leader
            await self._follower.until(lambda: self._follower.leader not in {None, known})  # noqa: B023 (awaited)
            with contextlib.suppress(KafkaError):
                await self.learn_versions()

    async def _until_shown(self, results: Sequence[Any]) -> None:
        """Wait until this broker's image has the topics that were created."""
        created = [one.topic_id for one in results if isinstance(one, Created)]
        if created:
            with trio.move_on_after(_SHOWN_WITHIN_S):
                await self._follower.until(
                    lambda: all(topic_id in self._follower.image.topics_by_id for topic_id in created)
                )


def _address_bytes(host: str) -> bytes:
    """The address as an Envelope carries it: 4 bytes, or 16 for IPv6."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).packed
    except ValueError:
        return bytes(4)
