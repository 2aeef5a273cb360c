"""The model cards of the churchyard's generators: how they were made, and what they measure."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from lab.training_curve import Checkpoint
from unseen.churchyard.scene import RENDERER_VERSION
from unseen.core.errors import RecordError
from unseen.core.files import sha256_of_file
from unseen.core.tables import markdown_table
from unseen.core.wording import percent, ratio_interval, times, value_interval
from unseen.distribution.comparison import ClassRow, Comparison, GeneratedSide
from unseen.distribution.comparison_wording import corrected
from unseen.generators.progan import network_from_state_dict, progan_names
from unseen.weights import open_checkpoint


def generator_card(
    folder: Path, real: str, checkpoints: Sequence[Checkpoint], comparison: Comparison
) -> str:
    """The card, as Markdown.

    Args:
        folder: of the finished training.
        real: spec of the real scenes.
        checkpoints: the snapshots measured, the last one's weights being those of the card.
        comparison: of the last one with the real scenes.

    Raises:
        RecordError: the folder's record cannot be read, or the last snapshot is not what it keeps.
    """
    made = _training_record(folder)
    path = folder / "generator.safetensors"
    last = checkpoints[-1]
    if last.images != made["images"]:
        raise RecordError(
            f"{path} was shown {made['images']:,} scenes and the last snapshot measured "
            f"{last.images:,}; finish the training, then measure again"
        )
    network = network_from_state_dict(progan_names(open_checkpoint(path)), path.name)
    parameters = sum(weight.numel() for weight in network.parameters())
    size = f"{network.resolution}×{network.resolution}"
    curve = markdown_table(
        ["scenes shown", "corrected FSD", "95 % interval", "over tr Σ_t"],
        [
            [f"{c.images:,}", f"{c.corrected:.3g}", f"{c.low:.3g} – {c.high:.3g}", f"{c.share:.3f}"]
            for c in checkpoints
        ],
        right=(0, 1, 3),
    )
    return f"""# Model card: a churchyard generator

Draws churchyard scenes of {size}{_without(made)}. ProGAN's layers, narrower
(widths {_listed(network.widths)}; {parameters:,} parameters). It is there to be looked
at by this package: a generator whose omissions are known, or can be looked up in its world.

- File: SHA-256 `{sha256_of_file(path)}`
{_commands(made)}
- Data: {made["images"]:,} scenes (renderer version {RENDERER_VERSION}), each shown once.
- Training: non-saturating loss, lazy R1 penalty every 16 steps, minibatch standard deviation,
  Adam(0, 0.99) for both networks.
- Arithmetic: {made["device"].upper()}, PyTorch {torch.__version__.partition("+")[0]}.
{_settings(made)}
- The discriminator's widths, 4×4 upwards: {_listed(made["discriminator_widths"])}.

## Measured

{_measured(real, comparison)}

{curve}

{_classes(comparison)}

Licence: Apache-2.0, as the package.
"""


def diffusion_card(
    pipeline: Path, made: Mapping[str, Any], real: str, comparison: Comparison
) -> str:
    """The card of a diffusion model, as Markdown.

    Args:
        pipeline: its folder, in diffusers' own format.
        made: the record of the denoiser's training.
        real: spec of the real scenes.
        comparison: of it with them.
    """
    first = made["autoencoder"]
    size = f"{first['resolution']}×{first['resolution']}"
    files = "\n".join(
        f"- `{path.relative_to(pipeline).as_posix()}`: "
        f"{sum(tensor.numel() for tensor in load_file(path).values()):,} parameters, "
        f"SHA-256 `{sha256_of_file(path)}`"
        for path in sorted(pipeline.rglob("*.safetensors"))
    )
    return f"""# Model card: a churchyard diffusion model

Draws churchyard scenes of {size}{_without(made)}. A latent diffusion model in diffusers' own
format (`LDMPipeline`), weights in float16. It is there to be looked at by this package: a
generator whose omissions are known, or can be looked up in its world.

{files}
- The autoencoder: `AutoencoderKL` of widths {_listed(first["widths"])},
  {first["latent_channels"]} latent channels, {2 ** (len(first["widths"]) - 1)} times smaller a
  side. Loss: the mean error, that of differences between neighbours, and
  {first["kl_weight"]:g} times the divergence from N(0, 1). Pixels that show things count
  {first["thing_weight"]:g} times. AdamW, bf16.
{_commands(first)}
- The denoiser: `UNet2DModel` of widths {_listed(made["widths"])}, attention at the last; velocity
  prediction, cosine schedule of 1,000 levels. AdamW with a learning rate of
  {made["learning_rate"]:g}, moving average {made["average_decay"]:g}, bf16, batches of
  {made["batch_size"]}: {sum(part["steps"] * part["batch_size"] for part in _parts(made)):,} latents
  in all, of {made["scenes"]:,} scenes (renderer version {RENDERER_VERSION}).
{_commands(made)}

## Measured

{_measured(real, comparison)}

{_classes(comparison)}

Licence: Apache-2.0, as the package.
"""


def _listed(widths: Sequence[int]) -> str:
    return ", ".join(map(str, widths))


def _without(made: Mapping[str, Any]) -> str:
    return f", without {' and '.join(made['without'].split(','))}" if made["without"] else ""


def _measured(real: str, comparison: Comparison) -> str:
    (side,) = comparison.generated
    fsd, variance = side.fsd, total_variance(side)
    share = "" if fsd.corrected is None else f"{fsd.corrected / variance:.3f}"
    return f"""{side.images:,} of its images (seed 1) against as many scenes of `{real}`, through
the churchyard's segmenter. FSD {fsd.value:.4g} over a floor of {fsd.floor:.2g}; corrected
{corrected(fsd)} [{value_interval(fsd.interval)}], which is
{share} of the total variance of the real areas (tr Σ_t = {variance:.4g})."""


def total_variance(side: GeneratedSide) -> float:
    """The total variance tr Σ_t of the real areas, in percent²."""
    return sum((100 * row.real_spread) ** 2 for row in side.classes)


def _classes(comparison: Comparison) -> str:
    (side,) = comparison.generated
    return markdown_table(
        [
            "class",
            "real presence",
            "generated",
            "ratio",
            "95 % interval, all classes at once",
            "verdict",
        ],
        [_cells(row) for row in sorted(side.classes, key=lambda row: -row.real_area)],
        right=(1, 2, 3),
    )


def _parts(made: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The records of the trainings, each begun from the one before, oldest first."""
    parts: list[Mapping[str, Any]] = []
    part: Mapping[str, Any] | None = made
    while part is not None:
        parts.insert(0, part)
        part = part["start"]
    return parts


def _commands(made: Mapping[str, Any]) -> str:
    commands = [f"`{part['command']}`" for part in _parts(made)]
    if len(commands) == 1:
        return f"- Made by: {commands[0]}"
    listed = "\n".join(f"  {k}. {command}" for k, command in enumerate(commands, 1))
    return (
        f"- Made in {len(commands)} parts, where EARLIER is the folder of the one before:\n{listed}"
    )


def _settings(made: Mapping[str, Any]) -> str:
    """What may differ from part to part, as a table."""
    table = markdown_table(
        [
            "scenes, up to",
            "of",
            "batch",
            "learning rate",
            "γ of R1",
            "instance noise",
            "moving average",
            "arithmetic",
            "seed",
        ],
        [
            [
                f"{part['images']:,}",
                f"`{part['source']}`",
                part["batch_size"],
                f"{part['learning_rate']:g}",
                f"{part['r1_gamma']:g}",
                f"{part.get('instance_noise', 0):g}",
                f"{part['average_decay']:g}",
                part["precision"],
                part["seed"],
            ]
            for part in _parts(made)
        ],
        right=(0, 2, 3, 4, 5, 6, 8),
    )
    return f"\n{textwrap.indent(table, '  ')}\n"


def _cells(row: ClassRow) -> list[str]:
    return [
        row.name,
        percent(row.real_presence),
        percent(row.generated_presence),
        times(row.ratio),
        ratio_interval(row.interval),
        row.verdict,
    ]


def _training_record(folder: Path) -> Mapping[str, Any]:
    path = folder / "generator.json"
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(
            f"{path} is missing or no record; finish the training with "
            "`python -m lab train generator`"
        ) from error
    return record
