"""How far a segmentation is: a bar with rate and time left, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from napari_unet.core.stacks import StackUpdate


@contextmanager
def segmenting_shown(name: str) -> Iterator[Callable[[StackUpdate], None]]:
    """Show a bar for one image; it disappears at the end."""
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), "{task.fields[rate]}", TimeElapsedColumn(), "left")
    words = [TextColumn(column) if isinstance(column, str) else column for column in columns]
    shown = Progress(
        *words, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    )
    with shown as bar:
        task = bar.add_task(name.replace("[", r"\["), total=None, rate="preparing")

        def show(update: StackUpdate) -> None:
            bar.update(task, completed=update.n_voxels_done, total=update.n_voxels)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed / 1e6:.2f} Mvoxel/s" if speed else "")

        yield show
