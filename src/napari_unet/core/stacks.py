"""Segment an image or a stack of any size: reading, predicting and writing blocks overlap."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unet.core.devices import choose_device, memory_reused
from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image
from napari_unet.core.io.image import make_image
from napari_unet.core.io.layout import Sink
from napari_unet.core.modelfile import Model
from napari_unet.core.normalise import Intensity
from napari_unet.core.plan import (
    Block,
    SegmentConfig,
    StackPlan,
    plan_stack,
    result_layout,
    seen_image,
)
from napari_unet.core.resampling import Regrid
from napari_unet.core.results import ArraySink, Kind
from napari_unet.core.tiling import Region
from napari_unet.core.unfinished import Request, Unfinished
from napari_unet.core.work import BlockWork, Phase, Ready, number_planes, write_region

__all__ = [
    "SegmentConfig",
    "StackResult",
    "StackUpdate",
    "plan_stack",
    "result_layout",
    "segment",
    "segment_into",
    "segment_stack",
]

T = TypeVar("T")


@dataclass(frozen=True)
class StackUpdate:
    """How far it is: the phase and its tasks, the pixels of all planes, and where it has just written.

    The region is one of the result, in its axes; None where nothing was written that is final: objects get
    their numbers at the end.
    """

    phase: str
    task: int
    n_done: int
    n_tasks: int
    n_voxels_done: int
    n_voxels: int
    region: Region | None = None


@dataclass(frozen=True, eq=False)
class StackResult:
    """What was done: the plan, where it was computed, and the pixels that were not finite and read as 0."""

    plan: StackPlan
    device: torch.device
    n_nonfinite: int

    @property
    def n_voxels(self) -> int:
        """Pixels or voxels of the stack."""
        return self.plan.n_voxels


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
        with memory_reused(), _threads(run.plan, request.predictor):
            for phase in run.work.phases():
                if also is not None and phase.is_final:
                    yield from (shown(run, phase, task, also) for task in run.done(phase))
                for task in _run_tiles(run, phase) if phase.name == "tiles" else _run_phase(run, phase):
                    yield shown(run, phase, task, also)
        n_nonfinite = run.n_nonfinite
    return StackResult(run.plan, request.predictor.device, n_nonfinite)


def segment(
    model: Model,
    image: Image | NDArray[Any],
    *,
    kind: Kind | None = None,
    halo: str | int = "auto",
    tile: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    match_spacing: bool = False,
) -> NDArray[Any]:
    """Segment an image that fits in memory.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image or ndarray (Y, X) or (Z, Y, X)
        As many channels as the model's; other axes need an `Image`.
    kind, halo, tile, device, precision, match_spacing : optional
        As of `SegmentConfig`.

    Returns
    -------
    ndarray
        Labels (T, Z, Y, X) in the smallest unsigned type, probabilities (T, C, Z, Y, X) of float32, or
        objects of uint32; without the axes that the image does not have.

    Raises
    ------
    ValueError
        If image and model do not fit.

    Examples
    --------
    >>> from napari_unet.core.networks.unet import UNet, UNetConfig
    >>> from napari_unet.core.targets import ClassLabel
    >>> classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "nucleus"))
    >>> model = Model(UNet(UNetConfig(width=4, depth=1)), "unet", "classes", classes, "YX", (1.0, 1.0),
    ...               "pixel", ("",), "percentile", {}, "0.1.0")
    >>> labels = segment(model, np.zeros((3, 20, 30), np.uint16))
    >>> labels.shape, labels.dtype
    ((3, 20, 30), dtype('uint8'))
    """
    if not isinstance(image, Image):
        image = _named(image)
    config = SegmentConfig(kind, halo, tile, device, precision, match_spacing)
    layout = result_layout(model, image, config)
    sink = ArraySink(np.zeros(layout.shape, layout.dtype))
    for _ in segment_into(model, image, sink, config):
        pass
    return sink.array


def segment_into(
    model: Model,
    image: Image,
    sink: Sink,
    config: SegmentConfig | None = None,
    intensity: Intensity | None = None,
    *,
    plan: StackPlan | None = None,
    first: int = 0,
) -> Generator[StackUpdate, None, StackResult]:
    """Segment an image into whatever takes arrays at regions.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image
        As many channels as the model's.
    sink : Sink
        Is handed the result in pieces that cover it once; see `result_layout` for its axes and type.
    config : SegmentConfig, optional
        How to segment.
    intensity : Intensity, optional
        That of the whole image, where it is known already; else it is measured.
    plan : StackPlan, optional
        What an earlier run has decided.
    first : int, optional
        With which task to begin: the one after the last update of an earlier run that had a region.

    Yields
    ------
    StackUpdate
        After each block.

    Returns
    -------
    StackResult
        What was decided and counted.

    Raises
    ------
    ValueError
        If image and model do not fit, before anything is written.
    """
    config = config or SegmentConfig()
    layout = result_layout(model, image, config)
    image, seen = layout.image, seen_image(model, layout.image, config)
    predictor = Predictor(model.network, choose_device(config.device), config.precision)
    plan = plan or plan_stack(predictor, model, seen, config, layout, intensity)
    blocks = BlockWork(plan, replace(layout, image=seen), seen, predictor, image)
    sink = sink if seen is image else Regrid(sink, image, seen)
    write = (ObjectWriter if layout.kind == "objects" else BlockWriter)(blocks, sink)
    n_nonfinite = 0
    with memory_reused(), _threads(plan, predictor):
        for ready, region in _overlapped(blocks, range(first, len(plan)), write):
            n_nonfinite += ready.n_nonfinite
            n_done = ready.task + 1
            n_voxels_done = plan.n_voxels * n_done // len(plan)
            yield StackUpdate("tiles", ready.task, n_done, len(plan), n_voxels_done, plan.n_voxels, region)
    return StackResult(plan, predictor.device, n_nonfinite)


class BlockWriter:
    """Writes each block where it belongs."""

    def __init__(self, blocks: BlockWork, sink: Sink) -> None:
        self._blocks, self._sink = blocks, sink

    def __call__(self, ready: Ready, result: NDArray[Any]) -> Region | None:
        """Take the result of a block; return the region that has been written."""
        write_region(self._sink, self._blocks.place(ready.block), result)
        return self._blocks.place_below(ready.block)


class ObjectWriter:
    """Collects the foreground of planes or a volume: objects are whole only when these are."""

    def __init__(self, blocks: BlockWork, sink: Sink) -> None:
        self._blocks, self._sink, self._n_objects = blocks, sink, 0
        self._foreground = np.zeros(0, bool)

    def __call__(self, ready: Ready, result: NDArray[Any]) -> Region | None:
        """Take the foreground of a block; return the region of planes or volume with the last of them."""
        grid = self._blocks.plan.grid
        if ready.task % len(grid) == 0:
            self._foreground = np.zeros((ready.block.n_planes, *grid.shape), bool)
        self._foreground[:, *ready.block.tile.write] = result
        if (ready.task + 1) % len(grid):
            return None
        n_objects, numbers = number_planes(self._foreground, self._blocks.layout.ndim)
        numbers[self._foreground] += np.uint32(self._n_objects)  # no object is in two planes
        self._n_objects += n_objects
        whole = Block(
            ready.block.outer, replace(ready.block.tile, write=tuple(slice(0, size) for size in grid.shape))
        )
        write_region(self._sink, self._blocks.place(whole), numbers)
        return self._blocks.place_below(whole)


def _run_tiles(run: Unfinished, phase: Phase) -> Iterator[int]:
    """Predict the blocks that the journal lacks."""

    def write(ready: Ready, result: NDArray[Any]) -> None:
        with run.disk_errors():
            run.journal.note("tiles", ready.task, run.work.write(ready, result))

    for ready, _ in _overlapped(run.work.blocks, run.todo(phase), write):
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


def _overlapped(
    blocks: BlockWork, tasks: Iterable[int], write: Callable[[Ready, NDArray[Any]], T]
) -> Iterator[tuple[Ready, T]]:
    """Predict blocks while the next ones are read and the ones before are written."""
    todo = iter(tasks)
    n_at_once = blocks.n_at_once

    def read(batch: Sequence[int]) -> list[Ready]:
        return [blocks.read(task) for task in batch]

    def write_all(ready: Sequence[Ready], results: Sequence[NDArray[Any]]) -> list[tuple[Ready, T]]:
        return [(each, write(each, result)) for each, result in zip(ready, results, strict=True)]

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead = reader.submit(read, list(islice(todo, n_at_once)))
        behind: Future[list[tuple[Ready, T]]] | None = None
        while ready := ahead.result():
            ahead = reader.submit(read, list(islice(todo, n_at_once)))
            results = blocks.predict(ready)
            if behind is not None:
                yield from behind.result()
            kept = [replace(each, planes=()) for each in ready]  # pixels that nobody needs any more
            behind = writer.submit(write_all, kept, results)
        if behind is not None:
            yield from behind.result()


@contextmanager
def _threads(plan: StackPlan, predictor: Predictor) -> Iterator[None]:
    """Compute with as many threads as were decided, where the result depends on it."""
    before = torch.get_num_threads()
    if predictor.precision == "fp32":
        torch.set_num_threads(plan.n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _named(array: NDArray[Any]) -> Image:
    """Name the axes of an array that can only be a plane or a stack."""
    if array.ndim not in (2, 3):
        raise ValueError(f"the array has {array.ndim} axes: name them with an Image")
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        raise ValueError(
            f"the array has the shape {array.shape}, as colours have: name its axes with an Image"
        )
    return make_image(array, "ZYX"[-array.ndim :], {}, "pixel", (), "the array")
