"""The commands of the laboratory, made of their tasks as those of `unseen` are."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from lab.audit_simulation import AuditSimulation, simulate_audits
from lab.case_studies.faces_dcgan.study import DcganStudy
from lab.case_studies.faces_dcgan.study import study_dcgan as run_dcgan_study
from lab.case_studies.faces_stylegan.study import FacesStudy
from lab.case_studies.faces_stylegan.study import study_faces as run_faces_study
from lab.case_studies.streets_progan.photographs import StreetPhotographs, divide_photographs
from lab.case_studies.streets_progan.study import StreetsStudy
from lab.case_studies.streets_progan.study import study_streets as run_streets_study
from lab.churchyard_calibration import ChurchyardCalibration, calibrate_churchyard
from lab.churchyard_diffusion import AutoencoderTraining, DenoiserTraining
from lab.churchyard_diffusion import train_autoencoder as run_autoencoder_training
from lab.churchyard_diffusion import train_denoiser as run_denoiser_training
from lab.churchyard_diffusion_shipping import DiffusionShipping
from lab.churchyard_diffusion_shipping import ship_diffusion as run_diffusion_shipping
from lab.churchyard_segmenter import SegmenterStage, SegmenterTraining
from lab.churchyard_segmenter import train_segmenter as run_segmenter_training
from lab.class_simulation import ClassSimulation, simulate_classes
from lab.comparison_counts import ComparisonCounts, count_comparisons
from lab.discovery_simulation import DiscoverySimulation, simulate_discovery
from lab.distance_simulation import DistanceSimulation, simulate_distances
from lab.distance_speed import DistanceSpeed, time_distances
from lab.face_parser import ParserStage, ParserTraining
from lab.face_parser import train_parser as run_parser_training
from lab.gate_simulation import GateSimulation, simulate_gate
from lab.generated_areas import GeneratedAreas, write_generated_areas
from lab.generator_change_simulation import ChangeSimulation, simulate_changes
from lab.generator_training import GeneratorTraining
from lab.generator_training import train_generator as run_generator_training
from lab.group_simulation import GroupSimulation, simulate_groups
from lab.image_set_size import ImageSetSize, time_image_set
from lab.page_faults import PageFaults, measure_faults
from lab.pair_simulation import PairSimulation, simulate_pairs
from lab.random_networks import RandomThroughput, measure_random
from lab.retention_margins import MarginSimulation, simulate_margins
from lab.retention_simulation import RetentionSimulation, simulate_retention
from lab.segmenter_check import SegmenterCheck
from lab.segmenter_check import check_segmenter as run_segmenter_check
from lab.shard_simulation import ShardSimulation, simulate_shards
from lab.statistics_simulation import Simulation, simulate
from lab.together_simulation import TogetherSimulation, simulate_together
from lab.training_curve import Checkpoints, measure_checkpoints
from lab.verdict_counts import EvidenceBench, Subject, measure_evidence
from unseen.bench.throughput import table
from unseen.cli import streams
from unseen.cli.bench import AsJson, write_speed
from unseen.cli.progress import progress_bar
from unseen.core.errors import SpecError
from unseen.core.options import Argument, Fields, Option
from unseen.inversion.training_loop import TrainingProgress


def simulation(task: Simulation) -> None:
    """Measure bias, coverage, false alarms and power on simulated areas with known truth."""
    _write_paths(simulate(task, say=streams.note))


def distances(task: DistanceSimulation) -> None:
    """Measure bias and coverage of the corrected distance of few images."""
    _write_paths(simulate_distances(task, say=streams.note))


def changes(task: ChangeSimulation) -> None:
    """Measure false verdicts, coverage and power of a new generator against the previous one."""
    _write_paths(simulate_changes(task, say=streams.note))


def shards(task: ShardSimulation) -> None:
    """Predict how long many images take on workers that differ, straggle and fail."""
    streams.write(simulate_shards(task, say=streams.note))


def audits(task: AuditSimulation) -> None:
    """Measure intervals and verdicts of ratios that an audit by hand corrects."""
    _write_paths(simulate_audits(task, say=streams.note))


def pairs(task: PairSimulation) -> None:
    """Measure intervals of shares of pairs, and the test of their change."""
    _write_paths(simulate_pairs(task, say=streams.note))


def gate(task: GateSimulation) -> None:
    """Measure what the gate lets pass, and how often it alarms for nothing."""
    _write_paths(simulate_gate(task, say=streams.note))


def distance_speed(task: DistanceSpeed) -> None:
    """Time the distance and its interval, beside NumPy's covariances and SciPy's square root."""
    streams.write(time_distances(task, say=streams.note))


def image_set(task: ImageSetSize) -> None:
    """Time a folder of very many images: listing, subset, hashes, going on with a run."""
    streams.write(time_image_set(task, say=streams.note))


def areas(task: GeneratedAreas) -> None:
    """Write two areas files of random numbers, to compare at any size."""
    _write_paths(write_generated_areas(task))


def classes(task: ClassSimulation) -> None:
    """Measure verdicts about classes: groups, several tests at once, drops, sizes, spreads."""
    _write_paths(simulate_classes(task, say=streams.note))


def calibration(task: ChurchyardCalibration) -> None:
    """Measure which omissions are found in the churchyard, whose scenes are rendered again."""
    _write_paths(calibrate_churchyard(task, say=streams.note))


def together(task: TogetherSimulation) -> None:
    """Measure which pairs of classes are called rarely together, by several rules."""
    _write_paths(simulate_together(task, say=streams.note))


def discovery(task: DiscoverySimulation) -> None:
    """Measure how often `unseen discover` finds a red balloon, and how often it calls nothing."""
    _write_paths(simulate_discovery(task, say=streams.note))


def retention(task: RetentionSimulation) -> None:
    """Measure false alarms, power and coverage of the verdicts of instance evidence."""
    _write_paths(simulate_retention(task, say=streams.note))


def groups(task: GroupSimulation) -> None:
    """Measure false alarms and power where images come in groups: clips, prompts, copies."""
    _write_paths(simulate_groups(task, say=streams.note))


def check_segmenter(task: SegmenterCheck) -> None:
    """Measure which false verdicts a check of the segmenter takes back, and which true ones."""
    _write_paths(run_segmenter_check(task, say=streams.note))


def study_faces(task: FacesStudy) -> None:
    """Write numbers, tables and charts of StyleGAN's faces beside FFHQ's."""
    _write_paths(run_faces_study(task))


def study_dcgan(task: DcganStudy) -> None:
    """Write numbers, tables and charts of a DCGAN's faces beside CelebA's."""
    _write_paths(run_dcgan_study(task))


def divide_streets(task: StreetPhotographs) -> None:
    """Divide photographs of streets: trained on, held out, and the former at 64 pixels."""
    _write_paths(divide_photographs(task))


def study_streets(task: StreetsStudy) -> None:
    """Write numbers, tables and charts of a ProGAN trained on photographs of streets."""
    _write_paths(run_streets_study(task))


def margins(task: MarginSimulation) -> None:
    """Measure which tests of a margin keep their level, and what they find."""
    _write_paths(simulate_margins(task, say=streams.note))


def checkpoints(task: Checkpoints) -> None:
    """Measure a generator's training: corrected FSD of its snapshots, and the model card."""
    _write_paths(measure_checkpoints(task, say=streams.note))


def _write_paths(paths: Any) -> None:
    for path in paths:
        streams.write(f"{path}")


def evidence(
    generator: Annotated[str, Argument("Spec of the generator that chooses.")],
    options: Annotated[dict[str, Any], Fields(EvidenceBench)],
    inverter: Annotated[
        str | None, Option("Its inverter. Method nearest and other starts need none.")
    ] = None,
    planted: Annotated[
        str | None, Option("Spec of a generator that plays no part in the choice.")
    ] = None,
    planted_inverter: Annotated[str | None, Option("Its inverter.")] = None,
    without: Annotated[
        tuple[str, ...], Option("Classes that the training of --planted was without.")
    ] = ("car", "fence"),
) -> None:
    """Choose cut, layers and λ_reg (of method nearest samples and window) on development seeds.

    Then count verdicts on other churchyards.
    """
    needs_none = options["methods"] == ("nearest",) or options["start"] in ("nearest", "noise")
    if not needs_none and (inverter is None or (planted is None) != (planted_inverter is None)):
        raise SpecError(
            "every generator needs its inverter (--inverter, --planted-inverter), but for "
            "--method nearest, --start nearest and --start noise"
        )
    subjects = [Subject(name="full", generator=generator, inverter=inverter)]
    if planted is not None:
        subjects.append(
            Subject(name="planted", generator=planted, inverter=planted_inverter, without=without)
        )
    _write_paths(measure_evidence(EvidenceBench(subjects=subjects, **options), say=streams.note))


def comparisons(task: ComparisonCounts) -> None:
    """Count the verdicts of comparisons of generators with other churchyards, seed by seed."""
    _write_paths(count_comparisons(task, say=streams.note))


def page_faults(task: PageFaults) -> None:
    """Measure what steps of networks lose to page faults, with and without freed memory."""
    streams.write(measure_faults(task, say=streams.note))


def throughput(task: RandomThroughput, as_json: AsJson = False) -> None:
    """Time Unified Perceptual Parsing with random weights: its labels mean nothing."""
    write_speed(measure_random(task, say=streams.note), table, as_json)


def train_generator(task: GeneratorTraining) -> None:
    """Train a generator on the churchyard, or on images. Run it again to go on."""
    with progress_bar("train generator") as bar:

        def show(progress: TrainingProgress) -> None:
            if bar is not None:
                before = task.images - progress.steps * task.batch_size  # a start's, and no batch
                bar(before + progress.step * task.batch_size, task.images)

        path = run_generator_training(task, progress=show)
    streams.write(f"{path}: load it with progan:{path}")


def train_autoencoder(task: AutoencoderTraining) -> None:
    """Train the autoencoder of the churchyard's diffusion model. Run it again to go on."""
    path = _train("autoencoder", task, run_autoencoder_training)
    streams.write(f"{path}: give its folder to `python -m lab train denoiser --autoencoder`")


def train_denoiser(task: DenoiserTraining) -> None:
    """Train the churchyard's diffusion model in latents. Run it again to go on."""
    path = _train("denoiser", task, run_denoiser_training)
    streams.write(f"{path}: load it with diffusers, or as diffusers:{path}")


def ship_diffusion(task: DiffusionShipping) -> None:
    """Measure the churchyard's trained diffusion models; write pipelines and model cards."""
    _write_paths(run_diffusion_shipping(task, say=streams.note))


def _train(name: str, task: Any, run: Callable[..., Path]) -> Path:
    with progress_bar(f"train {name}", unit="steps") as bar:

        def show(progress: TrainingProgress) -> None:
            if bar is not None:
                bar(progress.step, progress.steps)

        return run(task, progress=show)


def train_face_parser(
    options: Annotated[dict[str, Any], Fields(ParserTraining)], stage: ParserStage
) -> None:
    """Train a second face parser on the labelled faces of the real inputs."""
    path = _train("face parser", ParserTraining(stage=stage, **options), run_parser_training)
    streams.write(f"{path}: load it with python:lab.face_parser:load?weights={path}")


def train_segmenter(
    options: Annotated[dict[str, Any], Fields(SegmenterTraining)], stage: SegmenterStage
) -> None:
    """Train the churchyard's segmenter; write weights and model card. Run it again to go on."""
    folder: Path = options["folder"]
    task = SegmenterTraining(out=folder / "segmenter.safetensors", stage=stage, **options)
    with progress_bar("train segmenter") as bar:

        def show(progress: TrainingProgress) -> None:
            if bar is not None:
                bar(progress.step * stage.batch_size, progress.steps * stage.batch_size)

        path = run_segmenter_training(task, progress=show)
    streams.write(f"{path}: load it with churchyard:{path}; its card is {path.with_suffix('.md')}")
