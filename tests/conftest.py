"""What all tests share: run-time checks of shapes, and the folder of real inputs."""

import os
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings
from tests.support.nvidia_pickles import write_network, write_tensorflow

__all__ = ["write_network", "write_tensorflow"]  # fixtures

# The same examples in every run, so that a run of the tests means the same everywhere.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

_HOOK = jaxtyping.install_import_hook(["unseen", "lab"], "beartype.beartype")


@pytest.fixture(scope="session")
def real_inputs() -> Path:
    """The folder of real inputs: UNSEEN_REAL, or ../shared/real beside the checkout."""
    checkout = Path(__file__).parents[1]
    folder = Path(os.environ.get("UNSEEN_REAL", checkout.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real inputs: {folder} is not a folder; name it in UNSEEN_REAL")
    return folder


@pytest.fixture(scope="module")
def generator():
    """A small generator of 16×16 images, untrained."""
    from tests.support.inversion_worlds import tiny_generator  # after the hook

    return tiny_generator()


@pytest.fixture(scope="module")
def inverter(generator):
    """Its inverter, untrained too."""
    from tests.support.inversion_worlds import tiny_inverter  # after the hook

    return tiny_inverter(generator)
