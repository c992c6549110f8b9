"""A broker without sockets, for tests of handlers."""

import signal

import hypothesis
import pytest
from peer import Peer

from kwire.broker.start import open_broker
from kwire.metadata.effective import BrokerSettings
from kwire.storage.files import OsFiles

# How long an example takes says how busy the machine is, and nothing else.
hypothesis.settings.register_profile("patient", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patient")

# A script's background jobs ignore SIGINT, nohup ignores SIGHUP, and children inherit that: processes that a test ends
# with such a signal would go on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
