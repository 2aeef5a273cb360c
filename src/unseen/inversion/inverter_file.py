"""Inverter files: safetensors whose metadata says which generator they are for.

`load_inverter` reads them, and whatever a plug-in of the group `unseen.inverters` names.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save
from torch import Tensor

from unseen import weights
from unseen.core.errors import CheckpointError, RecordError, UnseenError
from unseen.core.files import as_path, canonical_json, package_version, sha256_of_file, write_aside
from unseen.core.records import build, decode
from unseen.core.registry import parse_spec, plugin
from unseen.generators import Generator, LayeredGenerator, load_layered
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_networks import Architecture
from unseen.inversion.layers import GeneratorShapes, SplitGenerator, split_generator, tensors_sha256

FORMAT_VERSION = 1
_KEY = "unseen_inverter"  # in the file's metadata
_FILE_HASH = "weights_sha256"  # in the provenance of what was read from a file


def write_inverter(inverter: Inverter, path: Path, *, half: bool = False) -> None:
    """Write weights and what they belong to, as one `.safetensors`.

    Args:
        inverter: what to write.
        path: where to.
        half: write convolutions' weights as float16, which makes the file half as large; what is
            read again is float32. `round_to_half` does to an inverter what this does to its file.

    Raises:
        StorageError: the file cannot be written.
    """
    about = {
        "schema_version": FORMAT_VERSION,
        "package_version": package_version(),
        "shapes": dataclasses.asdict(inverter.shapes),
        "architecture": dataclasses.asdict(inverter.architecture),
        "provenance": {k: v for k, v in inverter.provenance.items() if k != _FILE_HASH},
    }
    state = {
        name: value.detach().cpu().contiguous() for name, value in inverter.state_dict().items()
    }
    if half:
        state = {name: value.half() if _halved(value) else value for name, value in state.items()}
    with write_aside(path) as aside:
        aside.write_bytes(save(state, metadata={_KEY: canonical_json(about)}))


@torch.no_grad()
def round_to_half(inverter: Inverter) -> None:
    """Round in place what `write_inverter` writes as float16."""
    for value in inverter.parameters():
        if _halved(value):
            value.copy_(value.half())


def _halved(value: Tensor) -> bool:
    """Whether it has two axes or more.

    Biases and batch norm's statistics, which may be beyond float16's range, stay as they are.
    """
    return value.ndim > 1


def load_inverter(text: str | Path, generator: Generator) -> Inverter:
    """The inverter of a file or a name, checked against the generator, in evaluation mode.

    Args:
        text: an inverter's `.safetensors`, or a spec: `ganseeing:FILE`, `ganseeing:church`.
        generator: the one it inverts; the inverter is placed where its latents are.

    Raises:
        SpecError: neither a file nor a known name.
        CheckpointError: the file is unreadable, holds no inverter, or one of another generator.
        GeneratorError: the generator cannot be split.
        DownloadError: published weights cannot be fetched.

    >>> generator = load_generator("churchyard-full")
    >>> type(load_inverter("churchyard-full", generator)).__name__
    'Inverter'
    """
    layered = load_layered(generator)
    spec = None if isinstance(text, Path) or _is_file(text) else parse_spec(text)
    if spec is None:
        inverter = read_inverter(as_path(text), layered)
    else:
        inverter = cast("Inverter", plugin("inverters", spec)(spec, layered))
    device = layered.latents(range(1), seed=1).device
    return inverter.to(device).eval()


def _is_file(text: str) -> bool:
    """Whether it is there, or is written as a file's name."""
    return as_path(text).is_file() or text.endswith(".safetensors")


def read_inverter(path: Path, generator: LayeredGenerator) -> Inverter:
    """An inverter that `write_inverter` wrote, checked against the generator.

    Raises:
        CheckpointError: the file is unreadable, holds no inverter, or one of another generator.
        GeneratorError: the generator cannot be split.
    """
    about, state = _read(path)
    inverter = _unfilled(path, about, len(state))
    split = _split_for(inverter, generator, str(path))
    wanted = about.provenance.get("generator_tensors_sha256")
    if wanted is not None and wanted != split.weights_sha256:
        raise CheckpointError(
            f"{path} inverts another generator of the same shapes ({_name(about.provenance)}; "
            f"weights {str(wanted)[:12]}, this one's {split.weights_sha256[:12]}); load that "
            "generator, or train an inverter of this one"
        )
    fill_inverter(inverter, state, str(path))
    inverter.provenance = {**about.provenance, _FILE_HASH: sha256_of_file(path)}
    return inverter


@dataclasses.dataclass(frozen=True, kw_only=True)
class _About:
    """What an inverter's file says of it."""

    schema_version: int
    package_version: str
    shapes: GeneratorShapes
    architecture: Architecture
    provenance: Mapping[str, Any]


def _unfilled(path: Path, about: _About, tensors: int) -> Inverter:
    """The inverter that a file describes, without memory for its weights.

    The numbers are the file's word: no more layers and blocks are built than it has tensors.
    """
    shapes, architecture = about.shapes, about.architecture
    blocks = max(architecture.blocks, architecture.last_blocks)
    fault = None
    if not 0 < len(shapes.layer_names) == len(shapes.features) <= tensors or blocks > tensors:
        fault = (
            f"{len(shapes.layer_names)} layers, {len(shapes.features)} shapes and stages of "
            f"{blocks} blocks"
        )
    else:
        try:
            with torch.device("meta"):
                return Inverter(shapes, architecture, about.provenance)
        except (UnseenError, ArithmeticError, LookupError, RuntimeError, ValueError) as error:
            fault = f"a network that cannot be built ({str(error).splitlines()[0]})"
    raise CheckpointError(
        f"{path} holds {tensors} tensors and describes {fault}; train the inverter again"
    )


def inverter_provenance(inverter: Inverter | None) -> dict[str, Any] | None:
    """What an inverter says of itself; a hash of its tensors where it was read from no file."""
    if inverter is None:
        return None
    if _FILE_HASH in inverter.provenance:
        return dict(inverter.provenance)
    return {**inverter.provenance, _FILE_HASH: tensors_sha256(inverter)}


def _split_for(inverter: Inverter, generator: LayeredGenerator, source: str) -> SplitGenerator:
    """The generator split where the inverter needs it; CheckpointError where it does not fit."""
    cut = inverter.layer_names[-1]
    names = ", ".join(generator.layer_names)
    if cut not in generator.layer_names[:-1]:
        raise CheckpointError(
            f"{source} inverts up to layer {cut!r}, which the generator has not before its last; "
            f"it has {names}: load the generator the inverter was trained for"
        )
    split = split_generator(generator, cut)
    needed, shapes = inverter.shapes, split.shapes
    compared: list[tuple[str, Any, Any]] = [
        ("latent size", needed.latent_size, shapes.latent_size),
        ("resolution", needed.resolution, shapes.resolution),
        ("list of layers", ", ".join(needed.layer_names), ", ".join(shapes.layer_names)),
    ]
    for name, *sizes in zip(needed.layer_names, needed.features, shapes.features, strict=False):
        compared.append((f"shape of {name}", sizes[0], sizes[1]))
    for name, ours, theirs in compared:
        if ours != theirs:
            raise CheckpointError(
                f"{source} inverts another generator ({_name(inverter.provenance)}): its {name} "
                f"is {ours}, this one's {theirs}; load that generator, or train an inverter of "
                "this one"
            )
    return split


def _name(provenance: Mapping[str, Any]) -> str:
    generator = provenance.get("generator")
    spec = generator.get("spec") if isinstance(generator, Mapping) else None
    return str(spec or "unnamed")


def fill_inverter(
    inverter: Inverter,
    state: Mapping[str, Tensor],
    source: str,
    *,
    named: Callable[[str], str] = str,
) -> None:
    """Put tensors into an inverter that is on the meta device.

    Args:
        inverter: its state dict says which tensors there must be.
        state: by name; may lack batch norm's counts of batches, which evaluation does not use.
        source: what an error message calls the tensors' file.
        named: the file's own name of a tensor, for messages.

    Raises:
        CheckpointError: a tensor is missing, left over, of another shape or not finite.
    """
    weights.build_and_fill(
        lambda: inverter,
        state,
        source,
        kind=f"inverter of this generator up to {inverter.layer_names[-1]!r}",
        optional=[name for name in inverter.state_dict() if name.endswith("num_batches_tracked")],
        named=named,
    )


def _read(path: Path) -> tuple[_About, Mapping[str, Tensor]]:
    checkpoint = weights.open_checkpoint(path)
    if _KEY not in checkpoint.notes:
        raise CheckpointError(
            f"{path} holds tensors and no inverter that unseen train wrote; for the authors' "
            "released files write ganseeing:FILE"
        )
    try:
        text = checkpoint.notes[_KEY]
        about = decode(text, f"what {path} says of itself", "train the inverter again")
        version = about.get("schema_version") if isinstance(about, dict) else None
        if version == FORMAT_VERSION:
            described = build(_About, about, f"{path} does not describe its inverter")
            return described, checkpoint.tensors
    except RecordError as error:
        raise CheckpointError(str(error)) from error
    raise CheckpointError(
        f"{path} is an inverter of schema version {version!r}; this unseen reads version "
        f"{FORMAT_VERSION}: install the unseen that wrote it, or train it again"
    )
