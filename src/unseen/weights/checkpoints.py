"""Reading weights from any file by its content, without running what is in it.

Files: safetensors, torch.save (today's and before zip files), NVIDIA's pickles of StyleGAN, and
`.npz` of TensorFlow's variables. The ending of the name does not matter. The weights are found
where training scripts nest them, by one rule for every network (`_find`, `_unwrapped`).
"""

import dataclasses
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unseen.core.errors import CheckpointError
from unseen.core.files import as_path
from unseen.core.npy_header import NpyHeader
from unseen.weights.restricted_pickle import (
    MOST_TENSORS,
    SavedModule,
    SavedTensor,
    SavedTensorFlowNetwork,
    read_pickle,
    tensors_of,
)

if TYPE_CHECKING:
    import torch

# Names under which files nest a generator, best first: averaged weights before raw ones.
_GENERATORS = (
    *("G_ema", "g_ema", "ema", "model_ema", "ema_model", "generator_ema", "netG_ema", "params_ema"),
    *("generator", "G", "g", "netG", "gen", "netG_state_dict", "generator_state_dict"),
    *("g_state_dict", "G_state_dict"),
)
_WRAPPERS = ("state_dict", "model_state_dict", "model", "params", "weights", "network", "net")
_PREFIXES = ("module", "_orig_mod")  # of DataParallel, torch.compile
_LONGEST_NAME = 300  # characters; printable, because messages show them
_DEEPEST = 16  # levels of nesting
_NUMBERS = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")  # safetensors'
_NPZ_BUDGET = 20  # times the file's size, unpacked; weights hardly compress
_FOREIGN = (  # how a file begins, what it is
    (b"\x89HDF", "HDF5, as Keras writes it"),
    (b"\x93NUMPY", "one bare NumPy array"),
    (b"\x1f\x8b", "compressed by gzip: unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself (git lfs pull)"),
    (b"<", "a web page: download the file itself"),
    (b"GGUF", "GGUF"),
    (b"\x08\x03\x12", "ONNX, which holds no named layers"),
    *((bytes([8, version, 18]), "ONNX, which holds no named layers") for version in range(4, 13)),
)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The weights of one network, as a file holds them.

    Tensors have PyTorch's dotted names (`mapping.fc0.weight`), or TensorFlow's with slashes
    (`mapping/Dense0/weight`).
    """

    path: Path
    tensors: "Mapping[str, torch.Tensor]"
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Module → its plain attributes; of NVIDIA's pickles alone. TensorFlow's are under ""."""
    place: str = ""  # where the file nests it, e.g. "g_ema" or "state_dict.generator"
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)  # safetensors' metadata

    @property
    def source(self) -> str:
        """What an error message calls it."""
        return self.path.name

    @property
    def is_tensorflow(self) -> bool:
        """Whether the names are those of TensorFlow's variables."""
        return any("/" in name for name in self.tensors)

    def take(self, name: str, axes: int) -> "torch.Tensor":
        """A tensor in float32.

        Raises:
            CheckpointError: it is missing, empty, or has another number of axes.
        """
        tensor = self.tensors.get(name)
        if tensor is None or tensor.ndim != axes or not tensor.numel():
            state = "lacks it" if tensor is None else f"has shape {tuple(tensor.shape)}"
            raise CheckpointError(
                f"{self.source} {state}: {name} is needed with {axes} axes; is the file whole?"
            )
        return tensor.float()

    def count(self, pattern: str) -> int:
        """How many of the names `pattern.format(0)`, `pattern.format(1)`, … there are."""
        number = 0
        while pattern.format(number) in self.tensors:
            number += 1
        return number

    def setting(self, module: str, name: str, default: Any) -> Any:
        """A module's attribute, or `default` where the file has none."""
        return self.settings.get(module, {}).get(name, default)

    def number(self, module: str, name: str, default: float) -> float:
        """A module's attribute that must be a finite number (CheckpointError)."""
        value = self.setting(module, name, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            where = f"{module}.{name}" if module else name
            raise CheckpointError(f"{self.source} has {where}={value!r}; a finite number is needed")
        return float(value)

    def refuse_settings_other_than(self, **drawn: Any) -> None:
        """Refuse a network built with keyword arguments that change what is drawn.

        Raises:
            CheckpointError: an argument has another value than the one drawn here.
        """
        for name, value in drawn.items():
            stated = self.setting("", name, value)
            if stated != value:
                raise CheckpointError(
                    f"{self.source} was built with {name}={stated!r}; only {name}={value!r} is "
                    "drawn here"
                )


def read_checkpoint(path: str | Path) -> "dict[str, torch.Tensor]":
    """The tensors of a checkpoint, on the CPU, by name: `open_checkpoint(path).tensors`.

    Raises:
        CheckpointError: as `open_checkpoint`.
    """
    return dict(open_checkpoint(path).tensors)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The weights in a file, on the CPU, found by the file's content.

    Raises:
        CheckpointError: missing, unreadable, without tensors, of numbers that are no plain ones,
            or a pickle that asks to run code.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "any.name"
        >>> torch.save({"g_ema": {"module.layer.weight": torch.zeros(2, 2)}, "epoch": 3}, path)
        >>> checkpoint = open_checkpoint(path)
        >>> list(checkpoint.tensors), checkpoint.place
        (['layer.weight'], 'g_ema.module')
    """
    path = as_path(path)
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}; give a .safetensors, .pth, .pkl or .npz file")
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from error
    settings: dict[str, dict[str, Any]] = {}
    notes: dict[str, str] = {}
    place = ""
    if start[8:9] == b"{":  # eight bytes of length, then JSON: the format's own definition
        tensors, notes = _read_safetensors(path)
    elif start[:2] == b"PK" and _is_npz(path):
        tensors = _read_npz(path)
    else:
        for beginning, what in _FOREIGN:
            if start.startswith(beginning):
                raise CheckpointError(
                    f"{path} cannot be read as a checkpoint: it is {what}; safetensors, torch.save "
                    "and NVIDIA's pickles are read"
                )
        tensors, settings, place = _read_pickled(path)
    for name in tensors:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise CheckpointError(f"{path} holds a tensor called {name[:40]!a}: no network's")
    if any("/" in name for name in tensors):
        # tflib lists a network's variables as `G_mapping/…` and `G_synthesis/…`, TensorFlow adds
        # `:0`.
        plain = {
            name.removesuffix(":0").removeprefix("Gs/").removeprefix("G_"): tensor
            for name, tensor in tensors.items()
        }
        return Checkpoint(path, plain, settings, place)
    tensors, prefix = _unwrapped(tensors)
    place = ".".join(part for part in (place, prefix) if part)
    return Checkpoint(path, tensors, settings, place, notes)


def _read_safetensors(path: Path) -> "tuple[dict[str, torch.Tensor], dict[str, str]]":
    """The tensors, and the texts that the file holds beside them."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                kind = str(file.get_slice(name).get_dtype())
                if kind not in _NUMBERS:
                    raise CheckpointError(
                        f"{path} holds {name} as {kind}; plain numbers ({', '.join(_NUMBERS)}) are "
                        "needed"
                    )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            notes = file.metadata() or {}
    except CheckpointError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(_unreadable(path, error)) from error
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors; a state dict is needed")
    return tensors, notes


def _unreadable(path: Path, error: BaseException) -> str:
    return (
        f"{path} cannot be read as a checkpoint ({' '.join(str(error).split())[:160]}); it is cut "
        "short or damaged: restore it"
    )


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _read_npz(path: Path) -> "dict[str, torch.Tensor]":
    """The arrays in float32; what their headers claim is checked before anything is allocated."""
    budget = _NPZ_BUDGET * path.stat().st_size + (1 << 24)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            for entry in entries:
                with archive.open(entry) as file:
                    header = NpyHeader(file)
                budget -= entry.file_size
                if header.bytes > entry.file_size or budget < 0:
                    raise ValueError(f"{entry.filename} claims the shape {header.shape}")
                if header.dtype.kind not in "fiub":
                    raise ValueError(f"{entry.filename} holds {header.dtype}")
        with np.load(path, allow_pickle=False) as arrays:
            return _floats({name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is no readable .npz of plain arrays ({' '.join(str(error).split())[:160]}); "
            "write it with numpy.savez and no object arrays"
        ) from error


def _floats(arrays: Mapping[str, np.ndarray]) -> "dict[str, torch.Tensor]":
    import torch

    return {
        name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()
    }


def _read_pickled(path: Path) -> "tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]], str]":
    """Tensors, settings and the place of the network in a file of pickles."""
    place, weights = _find(read_pickle(path), path)
    if isinstance(weights, SavedTensorFlowNetwork):
        return *_tensorflow(weights, path), place
    if isinstance(weights, SavedModule):
        settings = {name: module.settings for name, module in weights.modules()}
        return weights.state_dict(), settings, place
    if len(weights) > MOST_TENSORS:
        raise CheckpointError(f"{path} has more than {MOST_TENSORS} tensors")
    return tensors_of(weights), {}, place


def _find(
    content: Mapping[Any, Any], path: Path
) -> tuple[str, dict[str, SavedTensor] | SavedModule | SavedTensorFlowNetwork]:
    """The network in nested dictionaries, and the names that lead to it.

    Known names come first, in their order; then tensors at hand; then the only dictionary that
    holds tensors, whatever it is called.

    Raises:
        CheckpointError: there is none, or several that nothing tells apart.
    """
    seen: set[int] = set()

    def search(level: Mapping[Any, Any], depth: int) -> tuple[list[str], Any] | None:
        if id(level) in seen or depth > _DEEPEST:
            return None
        seen.add(id(level))
        for name in (*_GENERATORS, *_WRAPPERS):
            value = level.get(name)
            if isinstance(value, SavedModule | SavedTensorFlowNetwork):
                return [name], value
            if isinstance(value, Mapping) and (below := search(value, depth + 1)):
                return [name, *below[0]], below[1]
        if tensors := _tensors(level):
            return [], tensors
        nests = {
            name: tensors
            for name, value in level.items()
            if isinstance(name, str) and isinstance(value, Mapping) and (tensors := _tensors(value))
        }
        if len(nests) > 1:
            names = ", ".join(ascii(name[:40]) for name in list(nests)[:4])
            raise CheckpointError(
                f"{path} holds several networks ({names}); save the generator's state dict alone"
            )
        return next((([name], tensors) for name, tensors in nests.items()), None)

    result = search(content, 0)
    if result is None:
        names = ", ".join(ascii(name)[:40] for name in list(content)[:4]) or "nothing"
        raise CheckpointError(
            f"{path} holds no tensors (found {names}); a state dict is needed, or the snapshot "
            "that StyleGAN's training wrote"
        )
    return ".".join(result[0]), result[1]


def _tensors(level: Mapping[Any, Any]) -> dict[str, SavedTensor]:
    return {
        name: value
        for name, value in level.items()
        if isinstance(name, str) and isinstance(value, SavedTensor)
    }


def _tensorflow(
    network: SavedTensorFlowNetwork, path: Path
) -> "tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]":
    """A pickled network's variables with those of its mapping and synthesis components."""
    arrays = dict(network.variables)
    settings = network.settings
    for part in ("mapping", "synthesis"):
        component = network.components.get(part)
        if component is None:
            raise CheckpointError(f"{path} has no {part} network; is it a StyleGAN's?")
        arrays |= {f"{part}/{name}": value for name, value in component.variables.items()}
        settings |= component.settings
    stored = sum({id(array): array.nbytes for array in arrays.values()}.values())
    if sum(array.nbytes for array in arrays.values()) > 2 * stored:
        raise CheckpointError(f"{path} repeats its variables as no network does")
    return _floats(arrays), {"": settings}


def _unwrapped(
    tensors: "dict[str, torch.Tensor]",
) -> "tuple[dict[str, torch.Tensor], str]":
    """The tensors without what wrappers put before their names, and what that was.

    A generator is picked out from beside a discriminator; other prefixes go where all have them.
    """
    prefix: list[str] = []
    while len(prefix) < _DEEPEST:
        for name in (*_GENERATORS, *_WRAPPERS, *_PREFIXES):
            inside = {
                key.removeprefix(f"{name}."): tensor
                for key, tensor in tensors.items()
                if key.startswith(f"{name}.")
            }
            picked = name in _GENERATORS and any(tensor.ndim > 1 for tensor in inside.values())
            if inside and (picked or len(inside) == len(tensors)):
                tensors = inside
                prefix.append(name)
                break
        else:
            break
    return tensors, ".".join(prefix)
