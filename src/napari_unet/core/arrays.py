"""Segment an image into memory, or into whatever takes arrays at regions."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any
from zlib import compress, decompress

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.devices import choose_device
from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image
from napari_unet.core.io.image import named
from napari_unet.core.io.layout import Sink
from napari_unet.core.layouts import SegmentConfig, result_layout, seen_image
from napari_unet.core.linking import partners
from napari_unet.core.modelfile import Model
from napari_unet.core.normalise import Intensity
from napari_unet.core.numbered import numbers_at_sides
from napari_unet.core.plan import Block, StackPlan, plan_stack
from napari_unet.core.resampling import Regrid
from napari_unet.core.results import ArraySink
from napari_unet.core.running import StackResult, StackUpdate, computing, overlapped
from napari_unet.core.tiling import Region, Shape
from napari_unet.core.work import BlockWork, Ready, write_region


def segment(model: Model, image: Image | NDArray[Any], **options: Any) -> NDArray[Any]:
    """Segment an image that fits in memory.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image or ndarray (Y, X) or (Z, Y, X)
        As many channels as the model's; other axes need an `Image`.
    **options
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
    image = named(image)
    config = SegmentConfig(**options)
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
        With which task to begin: the one after the last update of an earlier run that had a region. Objects
        are numbered from 1 on again.

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
        If image and model do not fit, or objects are to be linked to those of an earlier run, before
        anything is written.
    """
    config = config or SegmentConfig()
    layout = result_layout(model, image, config)
    if first and config.link:
        raise ValueError(
            f"linked objects cannot be gone on with from task {first}: begin anew, or segment into a file"
        )
    predictor = Predictor(model.network, choose_device(config.device), config.precision)
    plan = plan or plan_stack(predictor, model, image, config, intensity)
    image, seen = layout.image, seen_image(model, layout.image, config)
    blocks = BlockWork(plan, replace(layout, image=seen), seen, predictor, image)
    sink = sink if seen is image else Regrid(sink, image, seen)
    write = (ObjectWriter if layout.kind == "objects" else BlockWriter)(blocks, sink)
    n_nonfinite = 0
    with computing(plan, predictor):
        for ready, region in overlapped(blocks, range(first, len(plan)), write):
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
    """Collects what is said of planes or a volume: objects are found when these are whole."""

    def __init__(self, blocks: BlockWork, sink: Sink) -> None:
        self._blocks, self._sink, self._n_objects = blocks, sink, 0
        self._scores: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._below: NDArray[np.uint32] | None = None
        self._held: list[tuple[Block, bytes]] = []  # compressed planes of a time point
        self._n_written, self._at_border = 0, np.zeros(0, np.uint32)

    def __call__(self, ready: Ready, result: NDArray[Any]) -> Region | None:
        """Take the scores of a block; return the region of planes or volume with the last of them."""
        grid = self._blocks.plan.grid
        if ready.task % len(grid) == 0:
            self._scores = np.zeros((2, ready.block.n_planes, *grid.shape), np.uint8)
        own = self._scores[(slice(None), slice(None), *ready.block.tile.write)]
        own[...] = result.reshape(own.shape)
        if (ready.task + 1) % len(grid):
            return None
        whole = Block(
            ready.block.outer, replace(ready.block.tile, write=tuple(slice(0, size) for size in grid.shape))
        )
        found = self._find(is_first=whole.outer[-1].start == 0)
        finding = self._blocks.layout.finding
        if finding.link and not finding.keep_border:
            return self._hold(whole, found)
        write_region(self._sink, self._blocks.place(whole), found)
        return self._blocks.place_below(whole)

    def _hold(self, whole: Block, found: NDArray[np.uint32]) -> Region | None:
        """Keep planes until the last of a time point has told which chains touch the border."""
        self._held.append((whole, compress(found.tobytes(), level=1)))
        sides = [numbers_at_sides(plane) for plane in found]
        self._at_border = np.unique(np.concatenate([self._at_border, *sides]))
        end = whole.outer[-1].stop
        if end < self._blocks.plan.outer_shape[-1]:
            return None
        self._write_held(found.shape[1:])
        return self._blocks.place_below(replace(whole, outer=(*whole.outer[:-1], slice(0, end))))

    def _write_held(self, shape: Shape) -> None:
        """Write the planes that were kept, without the chains at the border."""
        numbers = np.zeros(self._n_objects + 1, np.uint32)
        kept = np.setdiff1d(np.arange(self._n_written + 1, self._n_objects + 1), self._at_border)
        numbers[kept] = self._n_written + np.arange(1, len(kept) + 1)
        for block, compressed in self._held:
            planes = np.frombuffer(decompress(compressed), np.uint32).reshape(-1, *shape)
            write_region(self._sink, self._blocks.place(block), numbers[planes])
        self._n_objects = self._n_written = self._n_written + len(kept)
        self._held, self._at_border = [], np.zeros(0, np.uint32)

    def _find(self, is_first: bool) -> NDArray[np.uint32]:
        """Find objects (n, *spatial) of planes or a volume; linked ones are called as in the plane below."""
        finding = self._blocks.layout.finding
        found: list[NDArray[np.uint32]] = []
        for plane in range(self._scores.shape[1]):
            objects = finding.find(self._scores[:, plane])
            below = None if is_first and not found else self._below
            numbers = self._numbers(objects, below if finding.link else None)
            self._below = numbers[objects]
            found.append(self._below)
        return np.stack(found)

    def _numbers(
        self, objects: NDArray[np.unsignedinteger], below: NDArray[np.uint32] | None
    ) -> NDArray[np.uint32]:
        """Return what each object of a plane is called in the whole, partners as in the plane below."""
        numbers = np.zeros(int(objects.max(initial=0)) + 1, np.uint32)
        if below is not None:
            numbers = partners(below, objects)
        new = numbers == 0
        new[0] = False
        numbers[new] = self._n_objects + np.arange(1, new.sum() + 1)
        self._n_objects += int(new.sum())
        return numbers
