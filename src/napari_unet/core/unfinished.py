"""A result that is not finished: a folder beside its name, with a journal, that a later run goes on with."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from napari_unet import __version__
from napari_unet.core.devices import choose_device
from napari_unet.core.examples import image_intensity
from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image
from napari_unet.core.io.disk import disk_errors, remove
from napari_unet.core.io.labels import register_labels
from napari_unet.core.io.layout import Layout, ResultSink
from napari_unet.core.io.result import (
    check_output,
    create_result,
    open_result,
    publish,
    result_suffix,
)
from napari_unet.core.io.zarr_writer import create_parts, open_parts
from napari_unet.core.joining import Joined
from napari_unet.core.journal import Journal, refuse_running
from napari_unet.core.modelfile import Model, model_hash
from napari_unet.core.normalise import Intensity
from napari_unet.core.plan import (
    SegmentConfig,
    StackPlan,
    plan_stack,
    result_layout,
    seen_image,
)
from napari_unet.core.resampling import Regrid
from napari_unet.core.results import ResultLayout
from napari_unet.core.work import BlockWork, Phase, StackWork, join_objects

FORMAT = 1
JOURNAL = "journal.jsonl"
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
        return self.image_store.with_name(f"{self.image_store.name}.labels.{name}")

    @property
    def parts_path(self) -> Path:
        """Numbers of objects within their blocks."""
        return self.folder / "parts.zarr"

    @property
    def unfinished_path(self) -> Path:
        """The result before it has its name; the suffix tells the format."""
        return self.folder / f"result{result_suffix(self.path)}"

    def file_layout(self, plan: StackPlan, n_objects: int = 0) -> Layout:
        """Return what the file is to look like; the number of objects sets the type of these."""
        layout = self.layout
        return Layout(
            layout.shape,
            np.min_scalar_type(n_objects) if layout.kind == "objects" else layout.dtype,
            layout.axes,
            self.image.spacing,
            self.image.unit,
            layout.channels,
            # at another voxel size blocks do not end where files do
            block_shape=None if self.config.match_spacing else layout.block_shape(plan.block_shape),
            provenance=self.provenance | {"image": self.image.name},
            image_store=self.image_store,
        )

    def work(self, plan: StackPlan, n_objects: Callable[[], int]) -> StackWork:
        """Return the tasks, for any process that sees the folder; the number of objects is asked for late."""
        layout = replace(self.layout, image=self.seen)
        blocks = BlockWork(plan, layout, self.seen, self.predictor, self.layout.image)
        return StackWork(blocks, partial(self._open, plan, n_objects), partial(open_parts, self.parts_path))

    def _open(self, plan: StackPlan, n_objects: Callable[[], int]) -> ResultSink:
        result = open_result(self.unfinished_path, self.file_layout(plan, n_objects()))
        image = self.layout.image
        return result if self.seen is image else _Regridded(result, image, self.seen)


class Unfinished:
    """The folder of a result in the making; a context manager around the run that goes on with it.

    An error leaves the folder as it is, so that a later run can go on, unless nothing was done yet.

    Parameters
    ----------
    request : Request
        What is wanted.
    overwrite : bool
        Whether an existing result is replaced in the end, and unfinished work thrown away.
    resume : bool
        Whether to go on with unfinished work, if it is there.
    intensity : Intensity, optional
        That of the whole image, where it is known already.

    Raises
    ------
    FileExistsError
        If there is a result, or unfinished work, and it was not said what to do with it.
    ValueError
        If image and model do not fit, or unfinished work is of another model, image or option.
    """

    journal: Journal
    work: StackWork

    def __init__(
        self,
        request: Request,
        *,
        overwrite: bool = False,
        resume: bool = False,
        intensity: Intensity | None = None,
    ) -> None:
        self.request, self._overwrite, self._intensity = request, overwrite, intensity
        self.folder, self._journal_path = request.folder, request.folder / JOURNAL
        for check in ("layout", "seen"):  # what does not fit is refused before anything is made
            getattr(request, check)
        is_there = self._journal_path.exists()
        self._is_resumed = resume and is_there
        check_output(request.path, overwrite=overwrite or self._is_named)
        if is_there and not (resume or overwrite):
            raise FileExistsError(
                f"{self.folder} holds an unfinished result: --resume goes on with it, --overwrite begins anew"
            )

    def __enter__(self) -> Self:
        if not self._is_resumed:
            self._begin()
        self.journal = Journal(self._journal_path)
        if self._is_resumed:
            _refuse_other(self.folder, self.journal.header, self.request.identity)
        plan = StackPlan.from_json(self.journal.header["plan"])
        self.work = self.request.work(plan, self.n_objects)
        self.journal.__enter__()
        if self._is_named:
            os.replace(self.request.path, self.request.unfinished_path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.journal.note("publish", 0, {})
        self.journal.__exit__()
        if kind is None:
            self._publish()
        elif not self.journal.n_done("tiles"):
            remove(self.folder)

    @property
    def _is_named(self) -> bool:
        """Whether what is gone on with has got its final name, and was killed before the folder was gone."""
        if not self._is_resumed or self.request.unfinished_path.exists() or not self.request.path.exists():
            return False
        return Journal(self._journal_path).is_done("publish", 0)

    @property
    def plan(self) -> StackPlan:
        """What was decided for the whole stack."""
        return self.work.blocks.plan

    @property
    def n_nonfinite(self) -> int:
        """Number of pixels so far that were not finite."""
        return sum(note["n_nonfinite"] for _, note in self.journal.results("tiles"))

    def n_objects(self) -> int:
        """Return the number of objects in the whole stack, once they are joined; 0 until then."""
        _, joined = next(self.journal.results("join"), (0, {"n_objects": 0}))
        return int(joined["n_objects"])

    def disk_errors(self) -> AbstractContextManager[None]:
        """Say in one sentence what the disk refuses while the result is written."""
        return disk_errors(self.request.path, self.request.file_layout(self.plan))

    def done(self, phase: Phase) -> Iterator[int]:
        """Yield the tasks of a phase that are done."""
        return (task for task in range(phase.n_tasks) if self.journal.is_done(phase.name, task))

    def todo(self, phase: Phase) -> Iterator[int]:
        """Yield the tasks of a phase that are not done."""
        return (task for task in range(phase.n_tasks) if not self.journal.is_done(phase.name, task))

    def arguments(self, phase: Phase) -> Callable[[int], Any]:
        """Return what gives each task of a phase its argument."""
        return self._joined().numbers if phase.name == "objects" else lambda _: None

    def _joined(self) -> Joined:
        """Find the final numbers of objects; the first time make the file, whose type their number sets."""
        tiles, faces = self.journal.results("tiles"), self.journal.results("faces")
        joined = join_objects(len(self.plan), tiles, faces)
        if not self.journal.is_done("join", 0):
            self._create_result(self.plan, joined.n_objects)
            self.journal.note("join", 0, {"n_objects": joined.n_objects})
        return joined

    def _publish(self) -> None:
        """Give the result its final name; nothing else remains, the journal until last."""
        with self.disk_errors():
            publish(self.request.unfinished_path, self.request.path, overwrite=self._overwrite)
            if self.request.image_store is not None:
                register_labels(self.request.image_store, self.request.path.name)
            remove(self.request.parts_path)
            remove(self.folder)

    def _begin(self) -> None:
        """Decide, and make what is needed; the journal comes last: without it nothing has begun."""
        request = self.request
        plan = plan_stack(
            request.predictor, request.model, request.seen, request.config, request.layout, self._intensity
        )
        header = request.identity | {"format": FORMAT, "plan": plan.as_json()}
        with disk_errors(request.path, request.file_layout(plan)):
            refuse_running(self._journal_path)
            remove(self.folder)
            try:
                self.folder.mkdir()
                if request.layout.kind == "objects":
                    self._create_parts(plan)
                else:
                    self._create_result(plan)
                Journal.create(self._journal_path, header)
            except BaseException:  # Ctrl-C included: it is raised again
                remove(self.folder)
                raise

    def _create_result(self, plan: StackPlan, n_objects: int = 0) -> None:
        layout = self.request.file_layout(plan, n_objects)
        create_result(self.request.unfinished_path, layout, name=self.request.image.name)

    def _create_parts(self, plan: StackPlan) -> None:
        layout = replace(self.request.layout, image=self.request.seen)
        create_parts(self.request.parts_path, layout.shape, layout.block_shape(plan.block_shape))


class _Regridded:
    """A result on the image's own pixels, written at the voxel size of the model."""

    def __init__(self, result: ResultSink, image: Image, seen: Image) -> None:
        self._result = result
        self.write = Regrid(result, image, seen).write
        self.read, self.reduce, self.flush = result.read, result.reduce, result.flush

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of tasks that make each further level."""
        return self._result.levels


def _fingerprint(image: Image) -> str:
    """Tell an image from another: by its files, or else by a sample of its pixels."""
    if image.source is not None:
        return image.source.fingerprint()
    sample = (image.axes, image.data.shape, str(image.dtype), image_intensity(image))
    return sha256(repr(sample).encode()).hexdigest()


def _refuse_other(folder: Path, begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise a ValueError that says what has changed since the work was begun."""
    if begun.get("format") != FORMAT:
        raise ValueError(f"{folder} was begun by another version of napari-unet: begin anew with --overwrite")
    changed = [words for name, words in _WORDS.items() if begun[name] != wanted[name]]
    options = wanted["options"]
    changed += [
        f"{name} ({begun['options'].get(name)} then, {value} now)"
        for name, value in options.items()
        if begun["options"].get(name) != value
    ]
    if changed:
        raise ValueError(
            f"{folder} cannot be gone on with, because these have changed: {', '.join(changed)}; "
            "begin anew with --overwrite"
        )
