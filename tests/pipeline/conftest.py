import pytest
from tests.inversion.worlds import tiny_generator, tiny_inverter


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def inverter(generator):
    return tiny_inverter(generator)
