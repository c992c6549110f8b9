"""A change of a feature's level changes which APIs a running server answers."""

from kwire.broker.controller.interface import only
from kwire.metadata.commands.nodes import UpdateFeatures
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.update_features import FeatureUpdate, UpgradeType
from kwire.server.lifecycle import open_server
from kwire.testing.memory.files import MemoryFiles

SHARE_FETCH = 78


async def test_apis_of_a_feature_come_and_go_with_its_level():
    settings = BrokerSettings({"log.dirs": "/kwire", "listeners": "PLAINTEXT://localhost:0"})
    async with open_server(settings, MemoryFiles()) as server:
        connections, broker = server.connections, server.broker
        apis, served = connections.apis, connections.served  # open connections hold these
        assert SHARE_FETCH in apis
        await set_level(broker, "share.version", 0)
        assert SHARE_FETCH not in apis
        assert SHARE_FETCH not in served
        await set_level(broker, "share.version", 1, UpgradeType.UPGRADE)
        assert SHARE_FETCH in apis
        assert SHARE_FETCH in served


async def set_level(broker, name, level, kind=UpgradeType.SAFE_DOWNGRADE):
    only(await broker.controller.submit(UpdateFeatures([FeatureUpdate(name, level, kind)])))
