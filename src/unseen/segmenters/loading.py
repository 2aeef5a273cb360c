"""From what a user wrote to a segmenter: specs, bare folders, devices, and what is checked.

Neither torch nor any plug-in is imported here before one is asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from unseen.core.devices import resolve_device
from unseen.core.errors import SegmenterError, SpecError
from unseen.core.registry import Spec, parse_spec, plugin, plugin_names, spec_name
from unseen.segmenters.protocol import Segmenter

# what a folder holds → the plug-in that reads it, in the order they are tried
_FOLDER_MARKS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("about.json", "model.onnx"), "onnx"),
    (("labels.json", "encoder_epoch_40.pth", "decoder_epoch_40.pth"), "upp"),
    (("config.json",), "hf"),
)


def load_segmenter(text: str | Path, *, device: str = "cpu", precision: str = "fp32") -> Segmenter:
    """The segmenter that a spec, or the folder at a bare path, names.

    Args:
        text: `upp[:FOLDER]`, `hf:MODEL_OR_FOLDER`, `onnx:FOLDER`, `python:MODULE:FACTORY`,
            `churchyard`, any other name registered under `unseen.segmenters`, or a folder,
            told by what it holds.
        device: "cpu", "cuda", "cuda:N", or "auto" (a GPU where there is one).
        precision: "fp32", or "bf16" where the network can; recorded with the results.

    Raises:
        SpecError: nothing of that name, or a device or precision that does not exist.
        SegmenterError: what the plug-in made is no segmenter.
        CheckpointError, DownloadError, MissingExtraError: from the plug-in.
    """
    if precision not in ("fp32", "bf16"):
        raise SpecError(f"precision {precision!r} is not known; known: fp32, bf16")
    spec = segmenter_spec(str(text))
    factory = plugin("segmenters", spec)
    segmenter = factory(spec, device=resolve_device(device), precision=precision)
    return check_segmenter(segmenter, spec.text)


def check_segmenter(segmenter: Any, name: str) -> Segmenter:
    """The same object, if it has every member of a `Segmenter`.

    Raises:
        SegmenterError: a member is missing or has the wrong form.
    """
    channels = getattr(segmenter, "channels", None)
    if not callable(getattr(segmenter, "label_maps", None)):
        _refuse(segmenter, name, "no method label_maps(images, channel)")
    if not isinstance(channels, Mapping) or not channels:
        _refuse(segmenter, name, "no channels (a dict from channel to its class names)")
    for channel, classes in channels.items():
        if not isinstance(classes, tuple | list) or not classes:
            _refuse(segmenter, name, f"no class names for channel {channel!r}")
        if not all(isinstance(entry, str) and entry for entry in classes):
            _refuse(segmenter, name, f"a class name in channel {channel!r} that is no text")
        if len(set(classes)) != len(classes):
            twice = next(entry for entry in classes if list(classes).count(entry) > 1)
            _refuse(segmenter, name, f"the class {twice!r} twice in channel {channel!r}")
    resolution = getattr(segmenter, "resolution", None)
    if not isinstance(resolution, int) or isinstance(resolution, bool) or resolution < 1:
        _refuse(segmenter, name, f"resolution {resolution!r} (a whole number of pixels)")
    if not isinstance(getattr(segmenter, "provenance", None), Mapping):
        _refuse(segmenter, name, "no provenance (a dict of what decides its labels)")
    checked: Segmenter = segmenter
    return checked


def _refuse(segmenter: Any, name: str, fault: str) -> NoReturn:
    raise SegmenterError(
        f"{name} made a {type(segmenter).__name__} that has {fault}; a segmenter has channels, "
        "resolution, provenance and label_maps (docs/segmenters.md)"
    )


def segmenter_spec(text: str) -> Spec:
    """The spec that `text` is, or that the folder at the path `text` stands for.

    Raises:
        SpecError: it is neither.
    """
    folder = Path(text).expanduser()
    known = plugin_names("segmenters")
    if spec_name(text) in known:
        return parse_spec(text)
    if text.strip() and folder.is_dir():
        for files, name in _FOLDER_MARKS:
            if all((folder / file).is_file() for file in files):
                return Spec(text, name, str(folder))
        raise SpecError(
            f"{text} is a folder that holds no segmenter; needed are model.onnx and about.json "
            "(onnx), config.json (hf), or encoder_epoch_40.pth, decoder_epoch_40.pth and "
            "labels.json (upp)"
        )
    raise SpecError(
        f"{text!r} names no segmenter; known: {', '.join(known)}, or the path of a folder that "
        "holds one"
    )
