"""`unseen thresholds`: when a segmenter of open vocabulary calls a class, from labelled images."""

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.distribution.open_thresholds import ThresholdTask, find_thresholds


def thresholds(task: ThresholdTask) -> None:
    """Find a threshold for each class, with which few images without the class are called."""
    with progress_bar("score") as progress:
        found = find_thresholds(task, progress=progress)
    for of_class in found:
        said = "; ".join(
            f"{of} {called} of {images}"
            for of, sides in (("without it", of_class.absent), ("with it", of_class.present))
            for called, images in sides
        )
        streams.write(f"{of_class.name}: threshold {of_class.threshold:.3g}; called: {said}")
    streams.write(f"{task.out}: give it as --classes {task.out}")
