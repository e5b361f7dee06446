"""How far a segmentation is: a bar for each phase with rate and time left, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from napari_unet.core.running import StackUpdate


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
        shown_name = escape(name)
        task = bar.add_task(shown_name, total=None, rate="preparing")
        phase = ""

        def show(update: StackUpdate) -> None:
            nonlocal phase
            if update.phase == phase:
                bar.update(task, completed=update.n_voxels_done)
            else:  # what an earlier run has done is no measure of speed
                phase = update.phase
                description = f"{shown_name}: {phase}"
                bar.reset(
                    task, description=description, total=update.n_voxels, completed=update.n_voxels_done
                )
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed / 1e6:.2f} Mvoxel/s" if speed else "")

        yield show
