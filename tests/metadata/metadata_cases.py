import itertools

from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.features import SERVED
from kwire.metadata.image import MetadataImage
from kwire.wire.messages import FeatureLevelRecord, RegisterBrokerRecord

DIRECTORY = bytes([7]) * 16


def broker_record(broker_id, *, fenced=False, rack=None, log_dirs=(DIRECTORY,), cordoned=None):
    return RegisterBrokerRecord(
        broker_id=broker_id,
        broker_epoch=10 + broker_id,
        incarnation_id=bytes([broker_id]) * 16,
        end_points=[
            RegisterBrokerRecord.BrokerEndpoint(name="PLAINTEXT", host="localhost", port=9092, security_protocol=0)
        ],
        features=[
            RegisterBrokerRecord.BrokerFeature(
                name=name, min_supported_version=levels.lowest, max_supported_version=levels.highest
            )
            for name, levels in SERVED.items()
        ],
        rack=rack,
        fenced=fenced,
        log_dirs=list(log_dirs),
        cordoned_log_dirs=cordoned,
    )


def image_with(*broker_ids):
    image = MetadataImage()
    image.apply([FeatureLevelRecord(name="metadata.version", feature_level=30)])
    image.apply([broker_record(broker_id) for broker_id in broker_ids])
    return image


def effective_of(image, settings=None):
    return EffectiveConfigs(image, BrokerSettings(settings or {}), 1)


def uuids():
    """Ids one after the other."""
    numbers = itertools.count(1)
    return lambda: next(numbers).to_bytes(16, "big")
