"""Write a result by regions; it appears under its name only when it is whole."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_unet.core.io.axes import UNKNOWN_UNIT
from napari_unet.core.io.disk import disk_errors, remove
from napari_unet.core.io.image import Region
from napari_unet.core.io.layout import Layout, ResultSink
from napari_unet.core.io.names import image_stem
from napari_unet.core.io.result import check_output, create_result, publish, result_suffix


class Output:
    """A result being written: a context manager, made by `create_output`.

    On success it is flushed to the disk and renamed; after an exception nothing of it remains.
    """

    def __init__(self, path: Path, layout: Layout, *, overwrite: bool) -> None:
        self.path = path
        self.layout = layout
        self._overwrite = overwrite
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}{result_suffix(path)}")
        self._sink: ResultSink | None = None

    def __enter__(self) -> Self:
        try:
            with disk_errors(self.path, self.layout):
                self._sink = create_result(self._temporary, self.layout, name=image_stem(self.path))
        except BaseException:  # Ctrl-C included: it is raised again
            remove(self._temporary)
            raise
        return self

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Write `array` at `region`, one slice for each axis; regions come in any order.

        Raises
        ------
        ValueError
            Where the shapes do not fit.
        TypeError
            Where the type cannot be stored, such as floats in integer labels.
        OSError
            Where the disk is full or goes away.
        """
        expected = tuple(len(range(*p.indices(n))) for p, n in zip(region, self.layout.shape, strict=True))
        if array.shape != expected:
            raise ValueError(f"an array of shape {array.shape} does not fill the region of shape {expected}")
        if self._sink is None:
            raise ValueError(f"{self.path.name} is not open; write inside its with block")
        with disk_errors(self.path, self.layout):
            self._sink.write(region, array)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sink, self._sink = self._sink, None
        try:
            if kind is None and sink is not None:
                with disk_errors(self.path, self.layout):
                    _reduce(sink)
                    publish(self._temporary, self.path, overwrite=self._overwrite)
        finally:
            remove(self._temporary)


def _reduce(sink: ResultSink) -> None:
    for level, n_tasks in enumerate(sink.levels, start=1):
        for task in range(n_tasks):
            sink.reduce(level, task)


def create_output(
    path: str | Path,
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    axes: str,
    spacing: Sequence[float],
    unit: str = UNKNOWN_UNIT,
    channels: Sequence[str] = (),
    info: str = "",
    overwrite: bool = False,
) -> Output:
    """Prepare a result file; nothing is written before its `with` block is entered.

    Parameters
    ----------
    path
        Its suffix sets the format: `.tif` (with ImageJ's metadata for uint8, uint16 and float32, unless C and
        Z are both there; BigTIFF where it must be), `.ome.tif`, or `.ome.zarr` (0.5; integers without
        channels are marked as labels).
    shape, dtype, axes
        Of the whole; axes are some of TCZYX in this order.
    spacing, unit
        Voxel size of each spatial axis in ZYX order.
    channels
        A name for each channel, or none.
    info
        Text that a `.tif` keeps beside its pixels, where ImageJ shows it too.
    overwrite
        Whether an existing result is replaced, once the new one is whole.

    Returns
    -------
    Output
        Two equal runs give the same bytes.

    Raises
    ------
    FileExistsError
        Where the result exists and `overwrite` is false, or is a folder that is no Zarr store.
    FileNotFoundError
        Where its folder does not exist.
    ValueError
        Where the suffix is none of these or the layout contradicts itself.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> result = create_output(f"{folder.name}/labels.tif", (2, 8, 8), "uint8", axes="ZYX", spacing=(5, 1, 1))
    >>> with result:
    ...     result.write((slice(1, 2), slice(0, 8), slice(0, 4)), np.ones((1, 8, 4), np.uint8))
    >>> [entry.name for entry in Path(folder.name).iterdir()]
    ['labels.tif']
    >>> folder.cleanup()
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    layout = Layout(
        tuple(map(int, shape)), np.dtype(dtype), axes, tuple(map(float, spacing)), unit, tuple(channels), info
    )
    return Output(path, layout, overwrite=overwrite)
