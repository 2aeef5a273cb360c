"""The inverters that the authors of the paper released: `ganseeing:FILE`, `ganseeing:church`.

Their tensors are `resnet.*` (the tail's) and `invN.*` (layer N's), perhaps behind `model.`.
Source: the files' own tensor names; Bau et al., ICCV 2019.
"""

import re
from pathlib import Path

import torch

from unseen import weights
from unseen.core.errors import CheckpointError
from unseen.core.files import sha256_of_file
from unseen.core.registry import Spec, takes
from unseen.core.wording import listed
from unseen.generators import LayeredGenerator
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_file import fill_inverter
from unseen.inversion.inverter_networks import Architecture
from unseen.inversion.layers import split_generator

PUBLISHED = ("church", "bedroom")  # `ganseeing:NAME` is the entry `inverter-NAME` of unseen.weights
_LAYER = re.compile(r"inv(\d{1,4})\.")


@takes()
def load_ganseeing(spec: Spec, generator: LayeredGenerator) -> Inverter:
    """`ganseeing:FILE`, or `ganseeing:NAME` for a published one, for the generator it inverts.

    Which generator a file was trained for is not recorded in it; only the shapes can be checked.

    Raises:
        SpecError: no argument, or neither a file nor a published name.
        CheckpointError: the file is unreadable, or does not fit the generator.
        GeneratorError: the generator cannot be split.
        DownloadError: the published file cannot be fetched.
    """
    argument = spec.require_argument("file")
    path = weights.locate(argument, PUBLISHED, "inverter-", spec=spec.text)
    return read_ganseeing(path, generator, spec.text)


def read_ganseeing(path: Path, generator: LayeredGenerator, text: str) -> Inverter:
    """An inverter from the release's layout.

    Args:
        path: a torch or safetensors file of `resnet.*` and `invN.*`.
        generator: shapes and names of its first N layers are taken from it.
        text: what provenance calls the inverter.

    Raises:
        CheckpointError: the file is unreadable, is no such inverter, or does not fit.
        GeneratorError: the generator cannot be split.
    """
    state = {
        name.removeprefix("model."): value for name, value in weights.read_checkpoint(path).items()
    }
    numbers = {int(match[1]) for name in state if (match := _LAYER.match(name))}
    if not numbers or min(numbers) < 1 or not any(name.startswith("resnet.") for name in state):
        raise CheckpointError(
            f"{path} is no released inverter: found {listed(sorted(state), 3)}; needed are "
            "resnet.* and inv1.*, inv2.* and so on"
        )
    count = max(numbers)
    if count >= len(generator.layer_names):
        raise CheckpointError(
            f"{path} inverts {count} layers and a tail; the generator has "
            f"{len(generator.layer_names)} layers in all: load the one it was trained for"
        )
    split = split_generator(generator, generator.layer_names[count - 1])
    provenance = {
        "spec": text,
        "preset": "ganseeing",
        "weights_sha256": sha256_of_file(path),
        "generator": dict(generator.provenance),
    }
    first = state.get("resnet.conv1.weight")
    width = 64 if first is None or not first.numel() else len(first)
    with torch.device("meta"):
        architecture = Architecture(family="iccv2019", width=width)
        inverter = Inverter(split.shapes, architecture, provenance)
    names = {_renamed(name): name for name in state}
    fill_inverter(
        inverter,
        {ours: state[theirs] for ours, theirs in names.items()},
        str(path),
        named=lambda ours: names.get(ours) or _released(ours),
    )
    return inverter


def _renamed(name: str) -> str:
    """`resnet.conv1.weight` → `tail.conv1.weight`; `inv4.…` → `layers.3.…`."""
    if match := _LAYER.match(name):
        return f"layers.{int(match[1]) - 1}.{name[match.end() :]}"
    return re.sub(r"^resnet\.", "tail.", name)


def _released(name: str) -> str:
    """The other way round."""
    name = re.sub(r"^layers\.(\d+)\.", lambda match: f"inv{int(match[1]) + 1}.", name)
    return re.sub(r"^tail\.", "resnet.", name)
