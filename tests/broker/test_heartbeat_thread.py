"""Heartbeats of a broker do not depend on its event loop."""

import socket
import threading

import pytest
import trio

from kwire.broker.node.heartbeats import HeartbeatThread
from kwire.metadata.broker_lifecycle import BrokerLifecycle, Identity, LifeState, Timing
from kwire.metadata.log.observer import ControllerAddress
from kwire.wire import codec
from kwire.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationResponse,
)

INTERVAL_MS = 5


class FakeController:
    """A controller in a thread, at the other end of a socket pair: it accepts every broker."""

    def __init__(self):
        self.beats = []
        self.enough = threading.Event()
        self.enough_beats = 0

    def connect(self, _address, _timeout_s):
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
        return ours

    def _serve(self, stream):
        with stream, stream.makefile("rb") as reader:
            while size := reader.read(4):
                frame = memoryview(reader.read(int.from_bytes(size, "big")))
                header = codec.read_header(frame)
                answer = self._answer(codec.decode_request(header, frame))
                stream.sendall(b"".join(codec.encode_response(header, answer)))

    def _answer(self, request):
        if isinstance(request, ApiVersionsRequest):
            keys = [ApiVersionsResponse.ApiVersion(api_key=key, max_version=high) for key, high in ((62, 4), (63, 2))]
            return ApiVersionsResponse(api_keys=keys)
        if not isinstance(request, BrokerHeartbeatRequest):
            return BrokerRegistrationResponse(broker_epoch=5)
        self.beats.append(request)
        if self.enough_beats and len(self.beats) >= self.enough_beats:
            self.enough.set()
        done = request.want_shut_down
        return BrokerHeartbeatResponse(is_caught_up=True, is_fenced=request.want_fence, should_shut_down=done)


@pytest.fixture
def life():
    identity = Identity(
        broker_id=1, cluster_id="c", incarnation_id=bytes(16), endpoints=[], rack=None, log_dirs=[b"d" * 16]
    )
    timing = Timing(heartbeat_interval_ms=INTERVAL_MS, session_timeout_ms=9000, registration_timeout_ms=60_000)
    return BrokerLifecycle(identity, timing)


@pytest.fixture
def controller():
    return FakeController()


@pytest.fixture
def beats(life, controller):
    changed = [trio.Event()]

    def on_change():
        changed[0].set()
        changed[0] = trio.Event()

    thread = HeartbeatThread(
        life,
        leader=lambda: ControllerAddress(3000, "controller", 9093),
        client_id="1",
        timeout_ms=1000,
        on_change=on_change,
        connect=controller.connect,
    )

    async def until(state):
        while life.state is not state:
            await changed[0].wait()

    thread.until = until
    return thread


async def test_heartbeats_are_sent_while_the_event_loop_is_held(life, controller, beats):
    async with trio.open_nursery() as nursery:
        beats.act(lambda life, now_ms: life.begin(now_ms))
        nursery.start_soon(beats.run)
        await beats.until(LifeState.FENCED)
        beats.act(lambda life, _: life.become_ready())
        await beats.until(LifeState.RUNNING)
        controller.enough_beats = len(controller.beats) + 5
        # The loop does nothing until five more heartbeats have arrived.
        assert controller.enough.wait(150)
        beats.act(lambda life, now_ms: life.shut_down(now_ms))
        await beats.until(LifeState.STOPPED)
    assert controller.beats[-1].want_shut_down
    assert life.epoch == 5


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "connection refused"), UnicodeError("label too long")])
async def test_a_controller_that_cannot_be_reached_is_connected_to_again(life, controller, beats, error):
    refusals = iter([True, True])
    connect = controller.connect

    def refuse_twice(address, timeout_s):
        if next(refusals, False):
            raise error
        return connect(address, timeout_s)

    beats.connect = refuse_twice
    async with trio.open_nursery() as nursery:
        beats.act(lambda life, now_ms: life.begin(now_ms))
        nursery.start_soon(beats.run)
        await beats.until(LifeState.FENCED)
        nursery.cancel_scope.cancel()
    assert next(refusals, None) is None
