"""`unseen discover`: what no list of classes names, and generated images lack."""

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.options import SingleFile
from unseen.distribution.discover import DiscoveryRun
from unseen.distribution.discover import discover as library
from unseen.distribution.discovery import FILE
from unseen.pages import report


def discover(task: DiscoveryRun, single_file: SingleFile = False) -> None:
    """Find groups of image regions that generated images have much more rarely than real ones."""
    found, comparison = library(task, watch=progress_bar)
    page = report(task.out, comparison, discovery=found, keep_current=True, single_file=single_file)
    streams.write(found.summary())
    streams.write(f"Page: {page}; record: {task.out / FILE}")
    if found.rare:
        first = found.rare[0].name.rpartition(" ")[2]
        groups = f"groups:{task.out / found.groups}?classes={first}"
        streams.write(f"A group as a class: unseen compare … --segmenter '{groups}=NAME'")
