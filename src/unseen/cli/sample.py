"""`unseen sample GENERATOR OUT`."""

from pathlib import Path
from typing import Annotated, Any

from unseen.cli import streams
from unseen.cli.progress import progress_bar
from unseen.core.options import Argument, Device, Fields, Option
from unseen.core.wording import count
from unseen.engines.engine import Engine
from unseen.engines.sampling import sample_apart, work_of
from unseen.generators import Precision, load_generator
from unseen.generators import sample as library
from unseen.generators.sample import Sampling, check_grid, sample_grid

_GRID = 100  # images at most in the preview


def sample(
    generator: Annotated[str, Argument("A spec, e.g. progan:church.pth (see: unseen list).")],
    options: Annotated[dict[str, Any], Fields(Sampling)],
    engine: Engine,
    grid: Annotated[
        Path | None, Option("Picture to write, too, of the first hundred images.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        Precision, Option("Number format of the generator's network. It is recorded.")
    ] = "fp32",
) -> None:
    """Draw images by index: image k is the same whatever the count. Run it again to go on."""
    if grid is not None:
        check_grid(grid)
    network = load_generator(generator, device=device, precision=precision)
    task = Sampling(generator=network, **options)
    with progress_bar("sample") as progress:
        if engine.apart:
            work = work_of(task, generator, device, precision)
            sample_apart(task, work, engine, progress=progress)
        library.sample(task, progress=progress)
    streams.write(f"{task.out}: {count(len(task.indices), 'image')}")
    if grid is not None:
        shown = task.indices[:_GRID]
        sample_grid(network, grid, indices=shown, seed=task.seed, batch_size=task.batch_size)
        streams.write(f"{grid}: the first {len(shown)}")
