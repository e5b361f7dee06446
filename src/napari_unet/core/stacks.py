"""Segment a stack of any size into a file, in this process."""

from collections.abc import Generator, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_unet.core.io import Image
from napari_unet.core.io.layout import Sink
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import Model
from napari_unet.core.normalise import Intensity
from napari_unet.core.request import Request
from napari_unet.core.running import StackResult, StackUpdate, computing, overlapped
from napari_unet.core.unfinished import Unfinished
from napari_unet.core.work import Phase, Ready


def segment_stack(
    model: Model,
    image: Image,
    output_path: str | PathLike[str],
    config: SegmentConfig | None = None,
    *,
    image_store: Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    intensity: Intensity | None = None,
    also: Sink | None = None,
) -> Generator[StackUpdate, None, StackResult]:
    """Segment an image into a file, which has its name only when it is whole.

    What is done until something stops it lies in a folder beside that name, ``NAME.unfinished``, from which
    another run goes on.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image
        Opened lazily; as many channels as the model's.
    output_path : path-like
        Its suffix sets the format: .tif, .ome.tif or .ome.zarr. Axes and spacing are the image's; the classes
        of probabilities are its channels.
    config : SegmentConfig, optional
        How to segment.
    image_store : Path, optional
        The OME-Zarr image inside which the labels go; `napari_unet.core.io.labels.labels_path` gives
        the output path.
    overwrite : bool, optional
        Whether an existing result may be replaced, and an unfinished one thrown away.
    resume : bool, optional
        Whether to go on with an unfinished result, if there is one: what it has is not computed again, and
        the file is the same as if nothing had stopped it.
    intensity : Intensity, optional
        That of the whole image, where it is known already; else it is measured.
    also : Sink, optional
        What is handed the same pieces as the file, such as a layer; those of before as well.

    Yields
    ------
    StackUpdate
        After each task.

    Returns
    -------
    StackResult
        What was decided and counted.

    Raises
    ------
    ValueError
        If image and model do not fit, or the unfinished result is of something else, before anything is
        written.
    OSError
        If the output exists or cannot be written.
    """
    request = Request(model, image, Path(output_path), config or SegmentConfig(), image_store)
    with Unfinished(request, overwrite=overwrite, resume=resume, intensity=intensity) as run:
        with computing(run.plan, request.predictor):
            for phase in run.work.phases():
                if also is not None and phase.is_final:
                    yield from (shown(run, phase, task, also) for task in run.done(phase))
                for task in _run_tiles(run, phase) if phase.name == "tiles" else _run_phase(run, phase):
                    yield shown(run, phase, task, also)
        n_nonfinite = run.n_nonfinite
    return StackResult(run.plan, request.predictor.device, n_nonfinite)


def _run_tiles(run: Unfinished, phase: Phase) -> Iterator[int]:
    """Predict the blocks that the journal lacks."""

    def write(ready: Ready, result: NDArray[Any]) -> None:
        with run.disk_errors():
            run.journal.note("tiles", ready.task, run.work.write(ready, result))

    for ready, _ in overlapped(run.work.blocks, run.todo(phase), write):
        yield ready.task


def _run_phase(run: Unfinished, phase: Phase) -> Iterator[int]:
    """Do the tasks of any other phase that the journal lacks."""
    argument = run.arguments(phase)
    for task in run.todo(phase):
        given = argument(task)
        with run.disk_errors():
            run.journal.note(phase.name, task, phase.do(task, given))
        yield task


def shown(run: Unfinished, phase: Phase, task: int, also: Sink | None) -> StackUpdate:
    """Hand over what a task has written, and tell."""
    n_done = run.journal.n_done(phase.name)
    region = None
    if phase.is_final:
        region = run.work.blocks.place_below(run.plan[task])
        if also is not None:
            also.write(region, run.work.result.read(region))
    n_voxels = run.plan.n_voxels
    return StackUpdate(
        phase.name, task, n_done, phase.n_tasks, n_voxels * n_done // phase.n_tasks, n_voxels, region
    )
