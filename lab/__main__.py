"""`python -m lab COMMAND`: the measurements and trainings behind the documentation."""

import sys
from collections.abc import Sequence

from unseen.cli import streams
from unseen.cli.main import run as run_command
from unseen.core.freed_memory import keep_freed_memory

COMMANDS = {
    "simulation": ("lab.commands:simulation", "Simulate the statistics of areas."),
    "distances": ("lab.commands:distances", "Simulate the distance of few images."),
    "changes": ("lab.commands:changes", "Simulate the comparison of two generators."),
    "pairs": ("lab.commands:pairs", "Simulate pairs of photographs and drawn images."),
    "audits": ("lab.commands:audits", "Simulate audits by hand."),
    "gate": ("lab.commands:gate", "Simulate the gate."),
    "areas": ("lab.commands:areas", "Write areas files of any size."),
    "image-set": ("lab.commands:image_set", "Time a folder of very many images."),
    "distance-speed": ("lab.commands:distance_speed", "Time the distance of many classes."),
    "classes": ("lab.commands:classes", "Simulate the verdicts about classes."),
    "calibration": ("lab.commands:calibration", "Plant omissions in the churchyard."),
    "together": ("lab.commands:together", "Simulate pairs of classes rarely together."),
    "discovery": ("lab.commands:discovery", "Plant an object that no class names."),
    "retention": ("lab.commands:retention", "Simulate the verdicts of instance evidence."),
    "margins": ("lab.commands:margins", "Simulate tests of a margin of retention."),
    "shards": ("lab.commands:shards", "Predict runs on many workers."),
    "groups": ("lab.commands:groups", "Simulate clips and prompts."),
    "check-segmenter": ("lab.commands:check_segmenter", "Check a segmenter on spoilt images."),
    "checkpoints": ("lab.commands:checkpoints", "Measure the snapshots of a training."),
    "evidence": ("lab.commands:evidence", "Count verdicts over churchyards."),
    "comparisons": ("lab.commands:comparisons", "Count verdicts of comparisons over churchyards."),
    "page-faults": ("lab.commands:page_faults", "Measure what page faults cost."),
    "throughput": ("lab.commands:throughput", "Time segmentation with random weights."),
    "study": ("", "Write numbers and charts of a case study."),
    "study faces-stylegan": (
        "lab.commands:study_faces",
        "StyleGAN's faces beside the photographs of FFHQ.",
    ),
    "study faces-dcgan": (
        "lab.commands:study_dcgan",
        "A DCGAN's faces beside the photographs of CelebA.",
    ),
    "study streets-photographs": (
        "lab.commands:divide_streets",
        "Divide photographs of streets, and bring them to 64 pixels.",
    ),
    "study streets-progan": (
        "lab.commands:study_streets",
        "A ProGAN of streets along its training, and its segmenter at 64 pixels.",
    ),
    "train": ("", "Train the networks of the built-in world."),
    "train generator": (
        "lab.commands:train_generator",
        "Train a generator on the churchyard, or on images.",
    ),
    "train autoencoder": (
        "lab.commands:train_autoencoder",
        "Train the autoencoder of the churchyard's diffusion model.",
    ),
    "train denoiser": (
        "lab.commands:train_denoiser",
        "Train the churchyard's diffusion model in latents.",
    ),
    "train face-parser": (
        "lab.commands:train_face_parser",
        "Train a second face parser on labelled faces.",
    ),
    "train ship-diffusion": (
        "lab.commands:ship_diffusion",
        "Put the churchyard's trained diffusion models where the package has its weights.",
    ),
    "train segmenter": ("lab.commands:train_segmenter", "Train the churchyard's segmenter."),
}


def run(arguments: Sequence[str]) -> int:
    """Run one command line of the laboratory; return its exit status."""
    return run_command(arguments, commands=COMMANDS, name="python -m lab", about=__doc__)


if __name__ == "__main__":
    streams.own_streams()
    keep_freed_memory()
    status = run(sys.argv[1:])
    sys.exit(status or int(not streams.end_streams()))
