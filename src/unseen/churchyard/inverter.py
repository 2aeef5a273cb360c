"""The inverters of the churchyard's generators, shipped trained, under the generators' names."""

from pathlib import Path

from unseen.core.registry import Spec, takes
from unseen.generators import LayeredGenerator
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_file import read_inverter

_FOLDER = Path(__file__).parent / "weights"
WEIGHTS = {
    "churchyard-full": _FOLDER / "full-inverter.safetensors",
    "churchyard-planted": _FOLDER / "planted-inverter.safetensors",
}
"""The files by spec; beside each lies its model card, with the ending `.md`."""


@takes(argument=False)
def load_churchyard_inverter(spec: Spec, generator: LayeredGenerator) -> Inverter:
    """`churchyard-full` or `churchyard-planted`: of the generator of that name, and no other.

    Raises:
        SpecError: an argument or an option; there are none.
        CheckpointError: the generator is another one.
    """
    return read_inverter(WEIGHTS[spec.name], generator)
