"""What is to be segmented, with which model, how, and where the result goes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet import __version__
from napari_unet.core.devices import choose_device
from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image
from napari_unet.core.io.layout import Layout, ResultSink
from napari_unet.core.io.names import has_zarr_metadata
from napari_unet.core.io.result import open_result, result_suffix
from napari_unet.core.io.values import Values
from napari_unet.core.io.zarr_writer import open_parts
from napari_unet.core.layouts import SegmentConfig, result_layout, seen_image
from napari_unet.core.modelfile import Model, model_hash
from napari_unet.core.normalise import CHUNK_SIDE, N_CHUNKS, sample_regions
from napari_unet.core.object_work import ObjectStore
from napari_unet.core.plan import StackPlan
from napari_unet.core.resampling import Regrid
from napari_unet.core.results import ResultLayout
from napari_unet.core.stack_work import StackWork
from napari_unet.core.work import BlockWork

_WORDS = {"napari-unet": "napari-unet", "model": "the model", "image": "the image"}


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be segmented, with which model, how, and the name of the result.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image
        As many channels as the model's, or among its channels those that the model names.
    path : Path
        Of the result; its suffix sets the format.
    config : SegmentConfig
        How to segment.
    image_store : Path, optional
        The OME-Zarr image inside which the path lies.
    """

    model: Model
    image: Image
    path: Path
    config: SegmentConfig
    image_store: Path | None = None

    @cached_property
    def layout(self) -> ResultLayout:
        """What the result will be; ValueError where image and model do not fit."""
        return result_layout(self.model, self.image, self.config)

    @cached_property
    def seen(self) -> Image:
        """What the network sees: the image, or the image at the voxel size of the model."""
        return seen_image(self.model, self.layout.image, self.config)

    @cached_property
    def predictor(self) -> Predictor:
        """The network made ready."""
        return Predictor(self.model.network, choose_device(self.config.device), self.config.precision)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Which program and model make the result, and how."""
        options = asdict(self.config) | {
            "kind": self.layout.kind,
            "device": self.predictor.device.type,
            "precision": self.predictor.precision,
            "axes": self.image.axes,
            "spacing": list(self.image.spacing),
            "unit": self.image.unit,
        }
        return {"napari-unet": __version__, "model": model_hash(self.model), "options": options}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What has to be the same for a run to go on with what another has begun."""
        return self.provenance | {"image": _fingerprint(self.image)}

    @property
    def folder(self) -> Path:
        """Where the result is made, beside its name; never inside another store."""
        name = f"{self.path.name}.unfinished"
        if self.image_store is None:
            return self.path.with_name(name)
        place = self.image_store.absolute()
        store = [folder for folder in (place, *place.parents) if has_zarr_metadata(folder)][-1]
        position = place.relative_to(store).parts  # of a plate: row, well and field
        return store.with_name(".".join((store.name, *position, "labels", name)))

    def part_path(self, name: str) -> Path:
        """Return where one of the arrays lies that objects are made of."""
        return self.folder / f"{name}.zarr"

    @property
    def numbers_path(self) -> Path:
        """Final numbers of the objects."""
        return self.folder / "numbers.npy"

    @property
    def unfinished_path(self) -> Path:
        """The result before it has its name; the suffix tells the format."""
        return self.folder / f"result{result_suffix(self.path)}"

    def file_layout(self, plan: StackPlan | None = None, n_objects: int = 0) -> Layout:
        """Return what the file is to look like, as far as it is known.

        The plan sets the pieces in which it is written, the number of objects the type of these.
        """
        layout = self.layout
        # at another voxel size blocks do not end where files do
        is_aligned = not self.config.match_spacing
        return Layout(
            layout.shape,
            np.min_scalar_type(n_objects) if layout.kind == "objects" else layout.dtype,
            layout.axes,
            self.image.spacing,
            self.image.unit,
            layout.channels,
            block_shape=layout.block_shape(plan.block_shape) if plan and is_aligned else None,
            provenance=self.provenance | {"image": self.image.name},
            image_store=self.image_store,
        )

    def work(self, plan: StackPlan, n_objects: Callable[[], int], *, is_published: bool = False) -> StackWork:
        """Return the tasks, for any process that sees the folder; the number of objects is asked for late."""
        path = self.path if is_published else self.unfinished_path
        layout = replace(self.layout, image=self.seen)
        blocks = BlockWork(plan, layout, self.seen, self.predictor, self.layout.image)
        store = ObjectStore(lambda name: open_parts(self.part_path(name)), self._open_numbers)
        return StackWork(blocks, partial(self._open, path, plan, n_objects), store)

    def _open_numbers(self) -> NDArray[np.uint32]:
        numbers: NDArray[np.uint32] = np.load(self.numbers_path, mmap_mode="r")
        return numbers

    def _open(self, path: Path, plan: StackPlan, n_objects: Callable[[], int]) -> ResultSink:
        result = open_result(path, self.file_layout(plan, n_objects()))
        image = self.layout.image
        return result if self.seen is image else _Regridded(result, image, self.seen)


def changes(made: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Say what differs between how something was made and how it is wanted.

    Parameters
    ----------
    made
        Of a journal or a result.
    wanted
        Identity or provenance of a request, or a part of it.

    Returns
    -------
    list of str
        One for each difference; empty where there is none.
    """
    then, now = Values("").mapping(made, "options"), wanted.get("options", {})
    parts = [words for name, words in _WORDS.items() if name in wanted and made.get(name) != wanted[name]]
    options = [name for name, value in now.items() if then.get(name) != value]
    return parts + [f"{name} ({then.get(name)} then, {now[name]} now)" for name in options]


class _Regridded:
    """A result on the image's own pixels, written at the voxel size of the model."""

    def __init__(self, result: ResultSink, image: Image, seen: Image) -> None:
        self._result = result
        self.write = Regrid(result, image, seen).write
        self.read, self.reduce = result.read, result.reduce

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of tasks that make each further level."""
        return self._result.levels


def _fingerprint(image: Image) -> str:
    """Tell an image from another: by its files, or else by a sample of its pixels."""
    if image.source is not None:
        return image.source.fingerprint()
    return sha256(repr((image.axes, image.name, pixel_sample(image))).encode()).hexdigest()


def pixel_sample(image: Image) -> str:
    """Tell apart images that are not in files, or not any more as they were, by a sample of their pixels.

    Parameters
    ----------
    image : Image
        Of it at most 64 chunks are read, at fixed places.

    Returns
    -------
    str
        SHA-256, of shape and type as well.
    """
    found = sha256(repr((image.data.shape, str(image.dtype))).encode())
    for region in sample_regions(image.data.shape, (CHUNK_SIDE, CHUNK_SIDE), N_CHUNKS):
        found.update(np.ascontiguousarray(image.data[region]).data)
    return found.hexdigest()
