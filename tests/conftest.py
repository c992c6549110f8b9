"""A broker without sockets, for tests of handlers."""

import math
import signal
from functools import partial

import hypothesis
import pytest
import trio
import trio.testing
from effort import examples
from lost_sockets import check_clients_are_closed, close_lost_sockets
from peer import Peer

from kwire.broker.start import open_broker
from kwire.metadata.configs.effective import BrokerSettings
from kwire.storage.os_files import OsFiles

# How long an example takes says how busy the machine is, and nothing else.
hypothesis.settings.register_profile("patient", parent=hypothesis.settings(), deadline=None, max_examples=examples(100))
hypothesis.settings.load_profile("patient")

# A script's background jobs ignore SIGINT, nohup ignores SIGHUP, and children inherit that: processes that a test ends
# with such a signal would go on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

close_lost_sockets()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """After the last test of a module, and its fixtures: a client that goes on would disturb the tests of another."""
    result = yield
    if nextitem is None or nextitem.path != item.path:
        check_clients_are_closed()
    return result


def pytest_collection_modifyitems(items):
    """Run a test on the jumping clock if one of its fixtures asks for it; pytest-trio looks at its arguments alone."""
    for item in items:
        if "autojump_clock" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.trio(run=partial(_run_on_its_clock, item)), append=False)


def _run_on_its_clock(item, main, *, clock, instruments):
    return trio.run(main, clock=item.funcargs["autojump_clock"], instruments=instruments)


@pytest.fixture
def autojump_clock():
    """pytest-trio's clock, which jumps over what all tasks wait for, but never while a thread works for one of them."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    in_thread = trio.to_thread.run_sync
    running = 0

    async def run_sync(*args, **options):
        nonlocal running
        running += 1
        clock.autojump_threshold = math.inf
        try:
            return await in_thread(*args, **options)
        finally:
            running -= 1
            if not running:
                clock.autojump_threshold = 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", run_sync)
        yield clock


@pytest.fixture
def settings():
    """Static broker settings; a test module may override this fixture."""
    return {}


@pytest.fixture
def data_dir(tmp_path):
    return str(tmp_path / "data")


@pytest.fixture
def start_broker(data_dir, settings):
    """A context manager that runs a broker on the test's data directory."""

    def start(**more):
        texts = {"log.dirs": data_dir, **settings, **more}
        return open_broker(BrokerSettings(texts), OsFiles(), endpoints=[Peer.endpoint])

    return start


@pytest.fixture
async def broker(start_broker):
    async with start_broker() as running:
        yield running


@pytest.fixture
def client(broker):
    return Peer(broker)


@pytest.fixture
def connect():
    """Makes a client of a broker, for tests that run several."""
    return Peer
