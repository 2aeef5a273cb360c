"""`diffusers:FOLDER_OR_NAME`: any pipeline of diffusers that draws images, as a generator by index.

Told apart by what the pipeline's call takes: a prompt, class labels, or neither. Read from a folder
or the local cache alone, from safetensors alone, and never with code that lies beside the weights.
Its layers are in `unseen.generators.noise_levels`.
"""

import csv
import dataclasses
import inspect
import io
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from unseen.core.devices import resolve_device
from unseen.core.errors import (
    CheckpointError,
    GeneratorError,
    SampleError,
    SpecError,
    first_line,
    memory_for,
    missing_package,
)
from unseen.core.files import as_path, canonical_json, sha256_of_file, sha256_of_parts
from unseen.core.registry import Spec, takes
from unseen.generators.protocol import Precision
from unseen.images.captions import caption_in

if TYPE_CHECKING:
    from unseen.generators.noise_levels import NoiseLevels

_FLOAT32_NOISE = ("LDMPipeline",)  # whatever its weights are
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MOST_BLACK = 0.01  # of the images drawn: what safety checkers and overflows in fp16 leave
_DISTILLED = "true_cfg_scale"  # beside it guidance_scale is an input of the network, as in Flux
_CLEAN, _BINNING = "clean_caption", "use_resolution_binning"  # arguments of PixArt and Sana


@dataclasses.dataclass(eq=False)
class PipelineGenerator:
    """A pipeline whose image k comes from a random stream of its own, seeded by (seed, k)."""

    pipeline: Any  # of diffusers
    spec: str
    provenance: Mapping[str, Any]
    settings: Mapping[str, Any]  # arguments of every call, such as num_inference_steps
    prompts: Sequence[str] = ()  # image k has prompt k mod their number
    negative: str | None = None
    classes: Sequence[int] = ()  # image k has class k mod their number
    checkpointing: bool = True  # in inversion: less memory for the gradient, and more time
    report: Callable[[float], None] | None = None  # told which share of a call's steps is done
    _drawn: int = dataclasses.field(default=0, init=False)
    _black: list[int] = dataclasses.field(default_factory=list, init=False)

    def conditions(self, indices: Sequence[int]) -> list[str] | None:
        """The prompt of every image, or its class where there are several."""
        if self.prompts:
            return [self.prompts[index % len(self.prompts)] for index in indices]
        if len(self.classes) > 1:
            return [f"class {self._class(index)}" for index in indices]
        return None

    def draw(self, indices: Sequence[int], *, seed: int = 1) -> Float[Tensor, "n 3 h w"]:
        """The images with these indices.

        Raises:
            GeneratorError: more than 1 % of the images are black.
            OutOfMemoryError: memory ran out.
            SampleError: a negative index or seed.
        """
        asked = self.arguments(indices, seed=seed)
        advice = "use a smaller --generator-batch-size, or offload=model in the spec"
        with (
            memory_for(f"{self.spec} drew {len(indices)} images at once", advice),
            warnings.catch_warnings(),
            _Bf16AsNumpy(),
        ):
            warnings.filterwarnings("ignore", "`upcast_vae`", FutureWarning)  # of its own call
            drawn = self.pipeline(output_type="np", **asked)
        images = torch.from_numpy(np.asarray(drawn.images, np.float32)).permute(0, 3, 1, 2)
        self._count_black(images, indices)
        return images * 2 - 1

    def arguments(self, indices: Sequence[int], *, seed: int) -> dict[str, Any]:
        """What the pipeline is called with for the images with these indices.

        Raises:
            SampleError: a negative index or seed.
        """
        if min((seed, *indices), default=0) < 0:
            raise SampleError(f"index {min(indices)} and seed {seed}: neither may be negative")
        streams = [image_stream(seed, index) for index in indices]
        return {**self.asked(indices), "generator": streams}

    def steps(self, iterable: Iterable[Any] | None = None, total: int | None = None) -> "_Steps":
        """What the pipeline counts its steps with, in place of its progress bar."""
        steps = None if iterable is None else list(iterable)
        return _Steps(steps, total or len(steps or ()), self.report)

    def asked(self, indices: Sequence[int]) -> dict[str, Any]:
        """The arguments of a call for these images, but for their random streams."""
        asked: dict[str, Any] = dict(self.settings)
        if self.prompts:
            asked["prompt"] = self.conditions(indices)
            if self.negative is not None:
                asked["negative_prompt"] = [self.negative] * len(indices)
        elif self.classes:
            asked["class_labels"] = [self._class(index) for index in indices]
        if "batch_size" in inspect.signature(self.pipeline.__call__).parameters:
            asked["batch_size"] = len(indices)
        return asked

    def layered(self) -> "NoiseLevels":
        """The same generator as layers, which can be inverted (GeneratorError, SpecError)."""
        from unseen.generators.noise_levels import NoiseLevels

        return NoiseLevels(self)

    def _class(self, index: int) -> int:
        return self.classes[index % len(self.classes)]

    def _count_black(self, images: Float[Tensor, "n c h w"], indices: Sequence[int]) -> None:
        self._drawn += len(indices)
        dark = images.flatten(1).amax(dim=1) <= 0
        black = [index for index, is_dark in zip(indices, dark.tolist(), strict=True) if is_dark]
        if not black:
            return
        self._black += black
        told = (
            f"{self.spec} drew {len(self._black)} black images of {self._drawn}, first image "
            f"{self._black[0]}"
        )
        if len(set(self._black)) > max(1, _MOST_BLACK * self._drawn):
            raise GeneratorError(f"{told}; try dtype=fp32, other steps, or another pipeline")
        warnings.warn(told, stacklevel=3)


class _Bf16AsNumpy(TorchFunctionMode):
    """Lets the pipelines without prompts, which ask for NumPy's arrays of bf16, have float32."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.numpy and args[0].dtype == torch.bfloat16:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


@dataclasses.dataclass
class _Steps:
    """Counts the steps of a call: as a loop over them, or as a context that is told of each."""

    steps: list[Any] | None
    total: int
    report: Callable[[float], None] | None
    done: int = 0

    def __enter__(self) -> "_Steps":
        return self

    def __exit__(self, *_: object) -> None:
        """End: the caller says when all is done."""

    def __iter__(self) -> Iterator[Any]:
        for step in self.steps or ():
            yield step
            self.update()

    def update(self, steps: int = 1) -> None:
        """Count further steps."""
        self.done += steps
        if self.report is not None and self.total:
            self.report(min(self.done / self.total, 1.0))


def image_stream(seed: int, index: int) -> torch.Generator:
    """The random stream of an image: on the CPU, so that every device draws the same noise."""
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
    return torch.Generator("cpu").manual_seed(int(state >> np.uint64(1)))


@takes(
    "prompts",
    "column",
    "negative",
    "classes",
    "steps",
    "guidance",
    "size",
    "dtype",
    "scheduler",
    "revision",
    "offload",
    "lora",
    "checkpointing",
)
def load_diffusers(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> PipelineGenerator:
    """The pipeline in a folder, or of a name in the local cache.

    Options: `prompts=FILE` (.txt, or .csv and .jsonl with a `column`), `negative`,
    `classes=cycle|K`, `steps`, `guidance`, `size=512` or `768x512` (width × height),
    `dtype=fp32|bf16|fp16`, `scheduler=CLASS`, `revision`, `offload=model|sequential`, `lora=FILE`,
    `checkpointing=on|off` (of inversion: off is faster and takes more memory).

    Raises:
        SpecError: an option that the pipeline does not take, a missing one, or an impossible value.
        CheckpointError: no pipeline there, weights that are no safetensors, or code beside them.
        MissingExtraError: diffusers, or what an option needs, is not installed.
    """
    diffusers = _diffusers(spec)
    return open_pipeline(_folder(spec, diffusers), spec, device=device, precision=precision)


def _diffusers(spec: Spec) -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise missing_package(spec.text, "diffusers", "transformers") from error
    return diffusers


def open_pipeline(
    folder: Path, spec: Spec, *, device: str, precision: Precision
) -> PipelineGenerator:
    """The pipeline in a folder, with the options of a spec that need not name the folder.

    Raises:
        SpecError, CheckpointError, MissingExtraError: as `load_diffusers` raises them.
    """
    diffusers = _diffusers(spec)
    dtype = spec.choice("dtype", precision, *_DTYPES)
    index = _index(folder)
    if dtype != "fp32" and index["_class_name"] in _FLOAT32_NOISE:
        raise SpecError(
            f"{spec.text!r} asks for {dtype}, and an {index['_class_name']} draws its noise in "
            "float32 alone; add dtype=fp32 to the spec"
        )
    pipeline = _pipeline(spec, folder, index, _DTYPES[dtype])
    if "scheduler" in spec.options:
        pipeline.scheduler = _scheduler(spec, diffusers, pipeline.scheduler)
    lora = _add_lora(spec, pipeline)
    if getattr(pipeline, "watermark", None) is not None:
        pipeline.watermark = None
    _place(spec, pipeline, resolve_device(device))
    taken = inspect.signature(pipeline.__call__).parameters
    prompts = _prompts(spec, taken)
    classes = _classes(spec, taken, pipeline)
    settings = _settings(spec, taken)
    weights = {
        str(path.relative_to(folder).as_posix()): sha256_of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".safetensors", ".json", ".txt", ".model")
    }
    scheduler = pipeline.scheduler
    facts = {
        "family": "diffusers",
        "pipeline": type(pipeline).__name__,
        "weights": weights,
        "weights_sha256": sha256_of_parts([canonical_json(weights), lora or ""]),
        "scheduler": {"class": type(scheduler).__name__, "config": _plain(scheduler.config)},
        "options": {**settings, "negative": spec.options.get("negative"), "lora_sha256": lora},
        "prompts": len(prompts),
        "prompts_sha256": sha256_of_parts(prompts) if prompts else None,
        "classes": list(classes),
        "precision": dtype,
        "arithmetic": "batch size",  # the last bits depend on how many images are drawn at once
    }
    generator = PipelineGenerator(
        pipeline=pipeline,
        spec=spec.text,
        provenance={"spec": spec.text, **facts},
        settings=settings,
        prompts=prompts,
        negative=spec.options.get("negative"),
        classes=classes,
        checkpointing=spec.choice("checkpointing", "on", "on", "off") == "on",
    )
    pipeline.progress_bar = generator.steps
    return generator


def _folder(spec: Spec, diffusers: Any) -> Path:
    """The folder of the pipeline, or that of a name in the local cache."""
    name = spec.require_argument("folder")
    folder = as_path(name)
    if folder.is_dir():
        return folder
    try:
        cached = diffusers.DiffusionPipeline.download(
            name, revision=spec.options.get("revision"), local_files_only=True, use_safetensors=True
        )
    except Exception as error:
        raise CheckpointError(
            f"{spec.text!r}: {name} is no folder and not in the local cache "
            f"({first_line(error)}); run `hf download {name}`, or name a folder"
        ) from error
    return Path(cached)


def _index(folder: Path) -> Mapping[str, Any]:
    """`model_index.json`, refused where it asks for code."""
    path = folder / "model_index.json"
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        name = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is missing or no index of a pipeline; name the folder that "
            "save_pretrained wrote"
        ) from error
    code = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.py"))
    if code or not isinstance(name, str):
        raise CheckpointError(
            f"{folder} asks to run code ({code[0] if code else name}), which is never run; convert "
            "it to a pipeline that diffusers has, or return it from python:MODULE:FACTORY"
        )
    return index


def _pipeline(spec: Spec, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> Any:
    import diffusers
    import transformers

    # Parts that the pipeline was saved without, such as the third text encoder of SD 3.
    more: dict[str, Any] = {part: None for part, kind in index.items() if kind == [None, None]}
    if "safety_checker" in index:  # black squares would count as what the model draws
        more |= {"safety_checker": None, "requires_safety_checker": False}
    before = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        return diffusers.DiffusionPipeline.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, **more
        )
    except Exception as error:
        raise CheckpointError(
            f"{spec.text!r}: the pipeline in {folder} cannot be loaded ({first_line(error)}); "
            "weights must be .safetensors: save it again with save_pretrained"
        ) from error
    finally:
        diffusers.utils.logging.set_verbosity(before)


def _scheduler(spec: Spec, diffusers: Any, present: Any) -> Any:
    name = spec.options["scheduler"]
    kind: Any = getattr(diffusers, name, None)
    known = isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)
    if not known:
        raise SpecError(
            f"{spec.text!r} has scheduler={name!r}, which is no scheduler of diffusers; write one "
            "such as DDIMScheduler"
        )
    return kind.from_config(present.config)


def _add_lora(spec: Spec, pipeline: Any) -> str | None:
    """Load the LoRA; its SHA-256."""
    if "lora" not in spec.options:
        return None
    path = as_path(spec.options["lora"])
    if path.suffix != ".safetensors" or not path.is_file():
        raise SpecError(f"{spec.text!r} has lora={path}, which is no .safetensors file")
    if not hasattr(pipeline, "load_lora_weights"):
        raise SpecError(f"{spec.text!r}: {type(pipeline).__name__} takes no LoRA; leave lora out")
    try:
        pipeline.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{spec.text!r}: {path} cannot be loaded ({first_line(error)}); it needs the package "
            "peft, and must be a LoRA of this pipeline"
        ) from error
    return sha256_of_file(path)


def _place(spec: Spec, pipeline: Any, device: str) -> None:
    offload = spec.choice("offload", "none", "none", "model", "sequential")
    if offload == "none":
        pipeline.to(device)
        return
    if device == "cpu":
        raise SpecError(f"{spec.text!r} has offload={offload}, which needs a GPU; leave it out")
    try:
        if offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.enable_sequential_cpu_offload(device=device)
    except ImportError as error:
        raise SpecError(
            f"{spec.text!r} has offload={offload}, which needs the package accelerate; install it"
        ) from error


def _prompts(spec: Spec, taken: Mapping[str, Any]) -> tuple[str, ...]:
    """The prompts of a pipeline that takes some."""
    if "prompt" not in taken:
        for key in ("prompts", "column", "negative"):
            if key in spec.options:
                raise SpecError(f"{spec.text!r} has {key}, but the pipeline takes no prompt")
        return ()
    if "negative" in spec.options and ("negative_prompt" not in taken or _DISTILLED in taken):
        raise SpecError(
            f"{spec.text!r} has negative, which the pipeline does not heed: its guidance is not by "
            "a negative prompt; leave it out"
        )
    if "prompts" not in spec.options:
        raise SpecError(
            f"{spec.text!r} names no prompts, which the pipeline draws from; add prompts=FILE "
            "(.txt, one a line; .csv or .jsonl with a column prompt)"
        )
    path = as_path(spec.options["prompts"])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{spec.text!r}: {path} cannot be read ({first_line(error)})") from error
    column = spec.options.get("column", "prompt")
    try:
        if path.suffix == ".csv":
            prompts = [row[column] for row in csv.DictReader(io.StringIO(text))]
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            named = "column" in spec.options
            prompts = [row[column] if named else caption_in(row) for row in rows]
        else:
            prompts = [line.strip() for line in text.splitlines() if line.strip()]
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(
            f"{spec.text!r}: {path} has no column {column!r} ({first_line(error)}); name it by "
            "column=NAME"
        ) from error
    if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise SpecError(f"{spec.text!r}: {path} holds no prompts, or some that are no text")
    return tuple(prompts)


def _classes(spec: Spec, taken: Mapping[str, Any], pipeline: Any) -> tuple[int, ...]:
    """The classes that are drawn in turn."""
    if "class_labels" not in taken or "prompt" in taken:
        if "classes" in spec.options:
            raise SpecError(f"{spec.text!r} has classes, but the pipeline takes no class")
        return ()
    if "classes" not in spec.options:
        if taken["class_labels"].default is None:
            return ()
        raise SpecError(
            f"{spec.text!r} names no class, which the pipeline draws from; add classes=0, or "
            "classes=cycle for each in turn"
        )
    network = getattr(pipeline, "transformer", None) or pipeline.unet
    config = network.config
    known = config.get("num_embeds_ada_norm") or config.get("num_class_embeds") or 0
    if not known:
        raise SpecError(f"{spec.text!r} has classes, but the network knows none; leave it out")
    if spec.options["classes"] == "cycle":
        return tuple(range(known))
    return (spec.integer("classes", 0, most=known - 1),)


def _settings(spec: Spec, taken: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of every call, refused where the pipeline does not take them."""
    settings: dict[str, Any] = {}
    if "steps" in spec.options:
        settings["num_inference_steps"] = spec.integer("steps", 1, least=1, most=100_000)
    if "guidance" in spec.options:
        try:
            settings["guidance_scale"] = float(spec.options["guidance"])
        except ValueError:
            settings["guidance_scale"] = math.nan
        if not math.isfinite(settings["guidance_scale"]):
            raise SpecError(
                f"{spec.text!r} has guidance={spec.options['guidance']!r}; write a number"
            )
    if "size" in spec.options:
        width, _, height = spec.options["size"].partition("x")
        if not (width.isdecimal() and (height or width).isdecimal()) or int(width) < 1:
            raise SpecError(
                f"{spec.text!r} has size={spec.options['size']!r}; write 512, or 768x512"
            )
        settings |= {"width": int(width), "height": int(height or width)}
    for name in settings:
        if name not in taken:
            raise SpecError(f"{spec.text!r} asks for {name}, which the pipeline does not take")
    if _CLEAN in taken:  # by packages that may be missing: prompts would depend on the machine
        settings[_CLEAN] = False
    if _BINNING in taken and "size" in spec.options:  # else another size is drawn, and resized
        settings[_BINNING] = False
    return settings


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as JSON, without what says where it was."""
    values: dict[str, Any] = json.loads(json.dumps(dict(config), default=str))
    return {key: value for key, value in values.items() if not key.startswith("_")}
