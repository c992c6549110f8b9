"""The life of a broker as recorded from official ones: registration, heartbeats, fencing, shutdown."""

import pytest

from kwire.errors import Code
from kwire.metadata.broker_lifecycle import BrokerLifecycle, Identity, LifeState, Timing
from kwire.metadata.entities import Endpoint
from kwire.wire import codec
from kwire.wire.messages import (
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
)

TIMING = Timing(heartbeat_interval_ms=2000, session_timeout_ms=9000, registration_timeout_ms=60_000)
DIRECTORY = b"d" * 16


@pytest.fixture
def life():
    life = BrokerLifecycle(
        Identity(
            broker_id=1,
            cluster_id="c",
            incarnation_id=b"i" * 16,
            endpoints=[Endpoint("PLAINTEXT", "localhost", 9092, 0)],
            rack=None,
            log_dirs=[DIRECTORY],
            previous_epoch=7,
        ),
        TIMING,
    )
    life.reports_cordoned = True
    life.begin(0)
    return life


def registered(life, epoch=10):
    request = life.next(0)
    life.answered(request, BrokerRegistrationResponse(broker_epoch=epoch), 0)


def answer(life, now_ms=0, **fields):
    request = life.next(now_ms)
    assert isinstance(request, BrokerHeartbeatRequest)
    life.answered(request, BrokerHeartbeatResponse(**{"is_fenced": True, **fields}), now_ms)
    return request


def running(life):
    registered(life)
    answer(life, is_caught_up=True)
    life.become_ready()
    answer(life, is_fenced=False)
    assert life.state is LifeState.RUNNING


def test_a_registration_names_listeners_features_directories_and_the_previous_epoch(life):
    request = life.next(0)
    assert isinstance(request, BrokerRegistrationRequest)
    assert [one.name for one in request.listeners] == ["PLAINTEXT"]
    assert "metadata.version" in [one.name for one in request.features]
    assert request.log_dirs == [DIRECTORY]
    assert request.previous_broker_epoch == 7
    assert not request.is_migrating_zk_broker


def test_it_stays_fenced_until_caught_up_and_ready(life):
    registered(life)
    life.note_applied(9)
    first = answer(life)
    assert first.want_fence
    assert first.cordoned_log_dirs is None
    assert first.current_metadata_offset == 9
    assert life.next(5) is None  # the next one is due after 10 ms
    answer(life, 10, is_caught_up=True)
    assert life.state is LifeState.FENCED
    life.become_ready()
    asked = answer(life, 11, is_fenced=False)
    assert not asked.want_fence
    assert asked.cordoned_log_dirs == []
    assert life.state is LifeState.RUNNING
    assert life.due_ms == 2011


def test_a_duplicate_registration_is_repeated_until_the_other_session_ends(life):
    request = life.next(0)
    refused = BrokerRegistrationResponse(error_code=Code.DUPLICATE_BROKER_REGISTRATION)
    life.answered(request, refused, 0)
    assert life.next(499) is None
    again = life.next(500)
    assert again.incarnation_id == request.incarnation_id
    life.answered(again, BrokerRegistrationResponse(broker_epoch=3), 500)
    assert life.epoch == 3


def test_a_registration_that_takes_too_long_is_given_up_with_its_reason(life):
    life.answered(life.next(0), BrokerRegistrationResponse(error_code=Code.DUPLICATE_BROKER_REGISTRATION), 0)
    assert life.next(60_000) is None
    assert life.state is LifeState.STOPPED
    assert life.refusal is Code.REQUEST_TIMED_OUT
    assert "another process" in life.refusal_reason


@pytest.mark.parametrize("code", [Code.UNSUPPORTED_VERSION, Code.INCONSISTENT_CLUSTER_ID, Code.INVALID_REGISTRATION])
def test_a_refusal_that_lasts_ends_it(life, code):
    life.answered(life.next(0), BrokerRegistrationResponse(error_code=code), 0)
    assert (life.state, life.refusal) == (LifeState.STOPPED, code)
    assert life.next(1e9) is None


def test_the_fields_of_a_refused_heartbeat_are_ignored(life):
    running(life)
    life.answered(life.next(5000), BrokerHeartbeatResponse(error_code=Code.NOT_CONTROLLER, is_fenced=True), 5000)
    assert not life.is_fenced
    assert life.state is LifeState.RUNNING
    assert life.due_ms == 5060


def test_a_stale_epoch_is_reported_and_asked_again_at_the_usual_interval(life):
    running(life)
    life.answered(life.next(5000), BrokerHeartbeatResponse(error_code=Code.STALE_BROKER_EPOCH), 5000)
    assert life.is_stale
    assert life.due_ms == 7000


def test_a_broker_that_was_fenced_meanwhile_asks_to_be_unfenced(life):
    running(life)
    asked = answer(life, 2000, is_fenced=True)
    assert not asked.want_fence
    assert life.is_fenced
    answer(life, 4000, is_fenced=False)
    assert not life.is_fenced


def test_a_controlled_shutdown_lasts_until_the_controller_allows_it(life):
    running(life)
    life.shut_down(100)
    assert answer(life, 100).want_shut_down
    assert life.state is LifeState.SHUTTING_DOWN
    answer(life, 200, should_shut_down=True)
    assert life.state is LifeState.STOPPED


def test_a_shutdown_that_no_controller_answers_ends_with_the_session(life):
    running(life)
    life.shut_down(100)
    assert life.next(100).want_shut_down
    life.failed(100)
    assert life.next(9099) is not None
    assert life.next(9100) is None
    assert life.state is LifeState.STOPPED


def test_a_broker_that_has_not_registered_stops_at_once(life):
    life.shut_down(0)
    assert life.state is LifeState.STOPPED
    assert life.refusal is None


def test_failed_and_cordoned_directories_are_reported_at_once(life):
    running(life)
    assert life.next(1) is None
    life.change_log_dirs(offline=[DIRECTORY], cordoned=[DIRECTORY])
    asked = answer(life, 1, is_fenced=False)
    assert asked.offline_log_dirs == [DIRECTORY]
    assert asked.cordoned_log_dirs == [DIRECTORY]


def test_a_broker_that_must_register_again_does_so_at_once_and_stays_what_it_is(life):
    running(life)
    assert life.next(1) is None
    life.register_again()
    for code, epoch in ((Code.NOT_CONTROLLER, -1), (Code.NONE, 10)):
        request = life.next(life.due_ms)
        assert isinstance(request, BrokerRegistrationRequest)
        assert request.incarnation_id == life.identity.incarnation_id
        life.answered(request, BrokerRegistrationResponse(error_code=code, broker_epoch=epoch), 100)
    assert (life.state, life.epoch) == (LifeState.RUNNING, 10)
    assert isinstance(life.next(100), BrokerHeartbeatRequest)


def test_a_second_registration_that_no_controller_took_is_sent_again_after_a_pause(life):
    running(life)
    life.register_again()
    life.answered(life.next(100), BrokerRegistrationResponse(error_code=Code.NOT_CONTROLLER), 100)
    assert life.next(159) is None
    assert isinstance(life.next(160), BrokerRegistrationRequest)


def test_a_registration_that_the_node_could_not_take_is_sent_again_after_a_pause(life):
    life.answered(life.next(0), BrokerRegistrationResponse(error_code=Code.NOT_CONTROLLER), 0)
    assert life.state is LifeState.REGISTERING
    assert life.next(59) is None
    assert isinstance(life.next(60), BrokerRegistrationRequest)


def test_a_request_without_an_answer_is_sent_again_after_a_pause(life):
    assert isinstance(life.next(100), BrokerRegistrationRequest)
    life.failed(100)
    assert life.next(159) is None
    assert isinstance(life.next(160), BrokerRegistrationRequest)


def test_before_its_first_record_a_broker_has_applied_offset_minus_one(life):
    registered(life)
    assert answer(life).current_metadata_offset == -1


def test_a_refused_second_registration_leaves_the_broker_running(life):
    running(life)
    life.register_again()
    life.answered(life.next(0), BrokerRegistrationResponse(error_code=Code.INVALID_REGISTRATION), 0)
    assert life.state is LifeState.RUNNING
    assert isinstance(life.next(0), BrokerHeartbeatRequest)


def test_a_broker_that_is_not_registered_does_not_register_twice(life):
    life.register_again()
    registered(life)
    assert isinstance(life.next(0), BrokerHeartbeatRequest)


def test_a_controller_without_cordoned_directories_is_told_none(life):
    """The field is not ignorable, and BrokerHeartbeat 1 of controllers before 4.3 lacks it."""
    life.reports_cordoned = False
    registered(life)
    answer(life, is_caught_up=True)
    life.become_ready()
    life.change_log_dirs(cordoned=[DIRECTORY])
    request = life.next(0)
    assert request.cordoned_log_dirs is None
    assert codec.encode_request(request.KEY, 1, 1, "broker", request)
