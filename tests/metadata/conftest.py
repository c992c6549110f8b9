import itertools

import pytest
from metadata_cases import image_with

from kwire.metadata.effective import BrokerSettings, EffectiveConfigs


@pytest.fixture
def image():
    return image_with(1)


@pytest.fixture
def effective(image):
    return EffectiveConfigs(image, BrokerSettings(), 1)


@pytest.fixture
def uuid():
    numbers = itertools.count(1)
    return lambda: next(numbers).to_bytes(16, "big")
