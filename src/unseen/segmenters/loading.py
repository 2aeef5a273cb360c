"""From what a user wrote to a segmenter: specs, bare folders and devices.

Neither torch nor any plug-in is imported here before one is asked for.
"""

from pathlib import Path

from unseen.core.devices import resolve_device, warn_of_slow_bf16
from unseen.core.errors import SpecError
from unseen.core.files import as_path
from unseen.core.registry import Spec, parse_spec, plugin, plugin_names, spec_name
from unseen.segmenters.checks import check_segmenter, segmenter_name
from unseen.segmenters.protocol import Segmenter

# what a folder holds → the plug-in that reads it, in the order they are tried
_FOLDER_MARKS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("about.json", "model.onnx"), "onnx"),
    (("labels.json", "encoder_epoch_40.pth", "decoder_epoch_40.pth"), "upp"),
    (("config.json",), "hf"),
)


def load_segmenter(
    segmenter: str | Path | Segmenter, *, device: str = "auto", precision: str = "fp32"
) -> Segmenter:
    """The segmenter that a spec, or the folder at a bare path, names.

    >>> import unseen
    >>> unseen.load_segmenter("churchyard").channels["object"][:3]
    ('sky', 'cloud', 'mountain')

    Args:
        segmenter: `upp[:FOLDER]`, `hf:MODEL_OR_FOLDER`, `open:KIND:FOLDER?classes=…`,
            `onnx:FOLDER`, `python:MODULE:FACTORY`, `maps:FOLDER`, `churchyard`, any other name
            registered under `unseen.segmenters`, or a folder, told by what it holds. A segmenter is
            checked and returned as it is.
        device: "cpu", "cuda", "cuda:N", or "auto" (a GPU where there is one).
        precision: "fp32", or "bf16" where the network can; recorded with the results.

    Raises:
        SpecError: nothing of that name, or a device or precision that does not exist.
        SegmenterError: what the plug-in made is no segmenter.
        CheckpointError, DownloadError, MissingExtraError: from the plug-in.
    """
    if precision not in ("fp32", "bf16"):
        raise SpecError(f"precision {precision!r} is not known; known: fp32, bf16")
    if not isinstance(segmenter, str | Path):
        return check_segmenter(segmenter, segmenter_name(segmenter))
    spec = segmenter_spec(str(segmenter))
    factory = plugin("segmenters", spec)
    device = _device(spec, device)
    made = factory(spec, device=device, precision=precision)
    warn_of_slow_bf16(device, precision)
    return check_segmenter(made, spec.text)


def segmenter_spec(text: str) -> Spec:
    """The spec that `text` is, or that the folder at the path `text` stands for.

    Raises:
        SpecError: it is neither.
    """
    folder = as_path(text)
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


def _device(spec: Spec, device: str) -> str:
    """A device that exists; of "auto", one that the family's own runtime can use."""
    if device == "auto" and spec.name == "onnx":
        from unseen.segmenters.onnx import onnx_device

        return onnx_device()
    return resolve_device(device)
