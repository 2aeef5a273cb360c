"""`unseen bench …`: measurements of the method itself."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from unseen.bench import sampling as sampling_speed
from unseen.bench import scaling as scaling_speed
from unseen.bench import throughput as segmenting_speed
from unseen.bench.calibration import Calibration, run_calibration
from unseen.bench.cross_domain import CrossDomain, invert_domains
from unseen.bench.decoding import decoding_table, measure_decoding
from unseen.bench.inversion_methods import MethodComparison, compare_methods
from unseen.bench.inversion_speed import measure_speed, speed_table
from unseen.bench.sampling import SamplingSpeed
from unseen.bench.scaling import Scaling
from unseen.bench.throughput import Throughput
from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.options import Option
from unseen.core.progress import silent
from unseen.engines.engine import Engine

AsJson = Annotated[bool, Option("Write JSON instead of a table.", name="--json")]


def throughput(
    task: Throughput,
    decode_only: Annotated[
        bool,
        Option(
            "Time decoders of JPEG alone instead, at 256² and 1024²: no segmenter is loaded, and "
            "one core decodes."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure images a second through the whole path against a plain loop in the same run."""
    if decode_only:
        write_speed(measure_decoding(task, say=streams.note), decoding_table, as_json)
        return
    write_speed(segmenting_speed.measure(task, say=streams.note), segmenting_speed.table, as_json)


def sampling(task: SamplingSpeed, as_json: AsJson = False) -> None:
    """Measure images a second that a generator draws against a plain loop in the same run."""
    write_speed(sampling_speed.measure(task, say=streams.note), sampling_speed.table, as_json)


def scaling(task: Scaling, as_json: AsJson = False) -> None:
    """Measure one worker against two, one process with two threads, and Ray, in the same run."""
    write_speed(scaling_speed.measure(task, say=streams.note), scaling_speed.table, as_json)


def write_speed(result: dict[str, Any], table: Callable[[Any], str], as_json: bool) -> None:
    """Write a measurement as a table, or as JSON."""
    if as_json:
        streams.write_json(result)
    else:
        streams.write(table(result))


def calibration(task: Calibration, engine: Engine) -> None:
    """Plant omissions, score them through the segmenter: detection and false alarms."""
    for path in run_calibration(task, say=streams.note, engine=engine):
        streams.write(f"{path}")


def inversion(
    task: MethodComparison,
    speed: Annotated[
        bool,
        Option(
            "Time method f against a plain loop of 3,000 Adam steps an image instead, on "
            "--examples photographs and as many generated images."
        ),
    ] = False,
) -> None:
    """Figure 6: how well each of the six methods recovers z, r and x of generated images.

    Their correlations with the truth, with intervals, as a table and CSV; whether the paper's
    order holds; scatter plots and rows of examples.
    """
    if speed:
        streams.write(speed_table(measure_speed(task, say=streams.note)))
        return
    _write_inversions(task, compare_methods, "methods.md")


def cross_domain(task: CrossDomain) -> None:
    """Figures 7 and 8: images of other domains through a generator, or through several.

    Uncurated images of every group over their reconstructions, the losses of each group, and the
    loss of training images minus held-out ones, with its interval.
    """
    _write_inversions(task, invert_domains, "cross-domain.md")


def _write_inversions(task: Any, measure: Callable[..., Iterable[Path]], table: str) -> None:
    """Measure, and write the table and the paths of all that was written."""
    with progress_bar("invert", unit="reconstructions") as progress:
        written = list(measure(task, progress=progress or silent))
    streams.write((task.out / table).read_text(encoding="utf-8"))
    for path in written:
        streams.write(f"{path}")
