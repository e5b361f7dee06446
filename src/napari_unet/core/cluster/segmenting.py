"""Segment a stack on many workers: this process keeps the journal, they read, predict and write."""

from collections.abc import Generator, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.cluster.clients import local_workers
from napari_unet.core.cluster.job import handed_over, run_tasks, source_of
from napari_unet.core.cluster.spreading import spread
from napari_unet.core.devices import free_memory
from napari_unet.core.io import Image
from napari_unet.core.io.result import result_suffix
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import Model
from napari_unet.core.request import Request
from napari_unet.core.running import StackResult, StackUpdate
from napari_unet.core.stacks import shown
from napari_unet.core.unfinished import Unfinished
from napari_unet.core.work import Phase

if TYPE_CHECKING:
    from distributed import Client

PACKAGE = "napari-unet"
LOADED = 0.3e9  # bytes that a worker takes with torch and the package


def segment_on_cluster(
    model: Model,
    image: Image,
    output_path: str | PathLike[str],
    config: SegmentConfig | None = None,
    *,
    client: "Client",
    image_store: Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Generator[StackUpdate, None, StackResult]:
    """Segment an image into an OME-Zarr on the workers of a Dask cluster.

    The result has the same bytes as that of `segment_stack`, and either goes on with what the other has
    begun. Workers need the same version of the package and see image and output under the same paths. What
    is decided once, such as device and tile, is decided here: run this on a machine like theirs.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image
        From `open_image` or `open_stack`; as many channels as the model's.
    output_path : path-like
        Ends in .ome.zarr, or is what `napari_unet.core.io.labels.labels_path` gives.
    config : SegmentConfig, optional
        How to segment.
    client : distributed.Client
        From `local_client` or `connect`, or any other.
    image_store, overwrite, resume : optional
        As of `segment_stack`.

    Yields
    ------
    StackUpdate
        After each task, in the order in which they end.

    Returns
    -------
    StackResult
        What was decided and counted.

    Raises
    ------
    ValueError
        If image and model do not fit, or several processes cannot do this together, before anything is
        written; if a worker lacks the package, or workers of this machine do not fit into its memory; if a
        piece of the image cannot be decoded.
    OSError
        If the output exists or cannot be written, workers end again and again, or the scheduler is gone.
    """
    path = Path(output_path).absolute()
    store = None if image_store is None else image_store.absolute()
    request = Request(model, image, path, config or SegmentConfig(), store)
    _refuse(request)
    _refuse_strangers(client)
    with Unfinished(request, overwrite=overwrite, resume=resume) as run:
        _refuse_crowd(run, len(local_workers(client)))
        with handed_over(request, run.journal.header) as job:
            for phase in run.work.phases():
                for task in _run_phase(run, phase, client, job):
                    yield shown(run, phase, task, None)
        n_nonfinite = run.n_nonfinite
    return StackResult(run.plan, request.predictor.device, n_nonfinite)


def _refuse(request: Request) -> None:
    """Raise ValueError for what several processes cannot do together."""
    source_of(request.image)
    if not result_suffix(request.path).endswith(".zarr"):
        raise ValueError(
            f"several workers cannot write one {request.path.name}: choose an output that ends in .ome.zarr"
        )
    if request.config.match_spacing:
        raise ValueError(
            "several workers share files with --match-spacing: leave out that, or --workers or --scheduler"
        )


def _refuse_strangers(client: "Client") -> None:
    """Raise ValueError if a worker lacks the package; what is called has to be there without it."""
    for worker, found in client.run(version, PACKAGE, on_error="return").items():
        if isinstance(found, PackageNotFoundError):
            raise ValueError(f"the worker {worker} lacks {PACKAGE}: install there what is installed here")


def _refuse_crowd(run: Unfinished, n_workers: int) -> None:
    """Raise ValueError if workers do not fit into the memory of this machine together."""
    predictor, grid = run.request.predictor, run.plan.grid
    if n_workers < 2 or predictor.device.type != "cpu":
        return
    tile = prod(grid.read_shape) * predictor.bytes_per_pixel
    needed, free = n_workers * (LOADED + tile), free_memory(predictor.device)
    if needed > free:
        raise ValueError(
            f"{n_workers} workers need about {needed / 1e9:.1f} GB together and {free / 1e9:.1f} GB "
            "are free: choose a smaller --tile or fewer workers"
        )


def _run_phase(run: Unfinished, phase: Phase, client: "Client", job: str) -> Iterator[int]:
    """Do the tasks that the journal lacks."""
    argument = run.arguments(phase)
    do = partial(run_tasks, job, phase.name, run.n_objects())
    todo = ((task, argument(task)) for task in run.todo(phase))
    for (task, _), note in spread(client, do, todo):
        with run.disk_errors():
            run.journal.note(phase.name, task, note)
        yield task
