"""A result that is not finished: a folder beside its name, with a journal, that a later run goes on with."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from napari_unet.core.io.disk import disk_errors, sync_all, sync_file
from napari_unet.core.io.labels import register_labels
from napari_unet.core.io.lock import OwnFolder
from napari_unet.core.io.result import check_format, check_output, create_result, publish
from napari_unet.core.io.zarr_writer import create_parts
from napari_unet.core.journal import Journal, as_noted, is_begun
from napari_unet.core.normalise import Intensity
from napari_unet.core.object_numbers import SeedNumbers, final_numbers
from napari_unet.core.object_work import PARTS
from napari_unet.core.objects import smallest_seed
from napari_unet.core.plan import StackPlan, plan_stack
from napari_unet.core.request import Request, changes
from napari_unet.core.stack_work import StackWork
from napari_unet.core.work import Phase

FORMAT = 2
JOURNAL = "journal.jsonl"


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
        If image and model do not fit, the format cannot store the result, or unfinished work is of another
        model, image or option.
    OSError
        If another run makes the same result, or the disk refuses.
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
        self.request, self._overwrite, self._resume, self._intensity = request, overwrite, resume, intensity
        self.folder, self._journal_path = request.folder, request.folder / JOURNAL
        for check in ("layout", "seen"):  # what does not fit is refused before anything is made
            getattr(request, check)
        check_format(request.unfinished_path, request.file_layout())
        self._n_objects, self._is_published = 0, False
        self._is_resumed = self._check()

    def __enter__(self) -> Self:
        self._own = self._take_folder()
        try:
            was_there, self._is_resumed = self._is_resumed, self._check()
            if was_there and not self._is_resumed:
                raise OSError(f"another run has ended {self.folder.name} meanwhile: see what it has left")
            if not self._is_resumed:
                self._begin()
            self._go_on()
        except BaseException:  # Ctrl-C included: it is raised again
            self._leave(is_kept=is_begun(self._journal_path))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self.disk_errors():
                    self._publish()
        except BaseException:  # Ctrl-C included: it is raised again
            kind = BaseException
            raise
        finally:
            self.journal.__exit__()
            self._leave(is_kept=kind is not None and self.journal.n_done("tiles") > 0)

    def _check(self) -> bool:
        """Tell whether there is work to go on with; refuse what nobody has said is to be replaced.

        Asked at once, and again when no other run can change the answer.
        """
        is_there = is_begun(self._journal_path)
        self._is_published = is_there and self._resume and is_published(self.request)
        check_output(self.request.path, overwrite=self._overwrite or self._is_published)
        if is_there and not (self._resume or self._overwrite):
            raise FileExistsError(
                f"{self.folder} holds an unfinished result: --resume goes on with it, --overwrite begins anew"
            )
        return is_there and self._resume

    def _take_folder(self) -> OwnFolder:
        with self.disk_errors(), suppress(BlockingIOError):
            return OwnFolder(self.folder)
        raise OSError(f"another run writes {self.folder.name}: wait for it, or end it first")

    def _leave(self, *, is_kept: bool) -> None:
        """Let others have the folder; without anything to go on with it is removed.

        The journal goes last where it says that the result has its name, else first: a run that is killed
        meanwhile leaves none that speaks of what is gone.
        """
        if is_kept:
            self._own.close()
            return
        with self.disk_errors():
            if not self._is_published:
                self._journal_path.unlink(missing_ok=True)
            self._own.remove(last=JOURNAL)

    def _go_on(self) -> None:
        """Open what is begun."""
        self.journal = Journal(self._journal_path)
        wanted = self.request.identity
        if self._is_published:  # of a result that is whole the image does not matter any more
            wanted = wanted | {"image": self.journal.header.get("image")}
        _refuse_other(self.folder, self.journal.header, wanted)
        with as_noted(self._journal_path):
            _, counted = next(self.journal.results("count"), (0, {"n_objects": 0}))
            self._n_objects = int(counted["n_objects"])
            plan = StackPlan.from_json(self.journal.header["plan"])
        self.work = self.request.work(plan, self.n_objects, is_published=self._is_published)
        self.journal.__enter__()

    @property
    def plan(self) -> StackPlan:
        """What was decided for the whole stack."""
        return self.work.blocks.plan

    @property
    def n_nonfinite(self) -> int:
        """Number of pixels so far that were not finite."""
        with as_noted(self._journal_path):
            return sum(int(note["n_nonfinite"]) for _, note in self.journal.results("tiles"))

    def n_objects(self) -> int:
        """Return the number of objects in the whole stack, once they are counted; 0 until then."""
        return self._n_objects

    def disk_errors(self) -> AbstractContextManager[None]:
        """Say in one sentence what the disk refuses while the result is written."""
        return disk_errors(self.request.path, self.request.file_layout(n_objects=self._n_objects))

    def done(self, phase: Phase) -> Iterator[int]:
        """Yield the tasks of a phase that are done."""
        return (task for task in range(phase.n_tasks) if self.journal.is_done(phase.name, task))

    def todo(self, phase: Phase) -> Iterator[int]:
        """Yield the tasks of a phase that are not done."""
        return (task for task in range(phase.n_tasks) if not self.journal.is_done(phase.name, task))

    def arguments(self, phase: Phase) -> Callable[[int], Any]:
        """Return what gives each task of a phase its argument; decide before what the phase rests on."""
        if phase.name == "seeds":
            return self._seed_numbers.of_block
        if phase.name == "numbers" and not self.journal.is_done("count", 0):
            self._count_objects()
        return lambda _: None

    @cached_property
    def _seed_numbers(self) -> SeedNumbers:
        """What seeds are called; asked for when those of all blocks are noted."""
        tiles, faces = (partial(self.journal.results, phase) for phase in ("tiles", "faces"))
        least = smallest_seed(self.request.layout.finding.rules, self.request.layout.ndim)
        with as_noted(self._journal_path):
            return SeedNumbers(len(self.plan), tiles, faces, least)

    def _count_objects(self) -> None:
        """Find the final numbers of objects, and make the file, whose type their number sets."""
        notes = ((note for _, note in self.journal.results(phase)) for phase in ("objects", "links"))
        with as_noted(self._journal_path):
            found = final_numbers(self._seed_numbers, self.request.layout.finding, *notes)
        self._n_objects, numbers = found
        with self.disk_errors():
            np.save(self.request.numbers_path, numbers)
            self._create_result(self.plan)
            sync_all(self.folder)
            self.journal.note("count", 0, {"n_objects": self._n_objects})

    def _publish(self) -> None:
        """Give the result its final name."""
        if not self._is_published:
            self.journal.note("publish", 0, {})
            sync_file(self._journal_path)  # the line is on the disk before the name is
            publish(self.request.unfinished_path, self.request.path, overwrite=self._overwrite)
            self._is_published = True
        if self.request.image_store is not None:
            register_labels(self.request.image_store, self.request.path.name)

    def _begin(self) -> None:
        """Decide, and make what is needed; the journal comes last: without it nothing has begun."""
        request = self.request
        plan = plan_stack(request.predictor, request.model, request.image, request.config, self._intensity)
        header = request.identity | {"format": FORMAT, "plan": plan.as_json()}
        with self.disk_errors():
            self._journal_path.unlink(missing_ok=True)  # before what it speaks of
            self._own.clear()
            if request.layout.kind == "objects":
                self._create_parts(plan)
            else:
                self._create_result(plan)
            sync_all(self.folder)  # the journal names nothing that a power failure could take
            Journal.create(self._journal_path, header)

    def _create_result(self, plan: StackPlan) -> None:
        layout = self.request.file_layout(plan, self._n_objects)
        create_result(self.request.unfinished_path, layout, name=self.request.image.name)

    def _create_parts(self, plan: StackPlan) -> None:
        layout = replace(self.request.layout, image=self.request.seen)
        shape, block_shape = layout.shape, layout.block_shape(plan.block_shape)
        for name in PARTS:
            path = self.request.part_path(name)
            if name == "scores":  # of foreground and of core
                create_parts(path, (2, *shape), (2, *block_shape), "uint8")
            else:
                create_parts(path, shape, block_shape)


def is_published(request: Request) -> bool:
    """Tell whether the result of a journal has its name: a run was killed before the folder was gone."""
    if request.unfinished_path.exists() or not request.path.exists():
        return False
    return Journal(request.folder / JOURNAL).is_done("publish", 0)


def is_complete(request: Request) -> bool:
    """Tell whether the result is there and none is unfinished; what a killed run has left is removed."""
    journal = request.folder / JOURNAL
    if not request.path.exists() or is_begun(journal):
        return False
    if request.folder.exists():
        with suppress(OSError):  # another run begins, or it cannot be removed: neither matters here
            own = OwnFolder(request.folder)
            if is_begun(journal):
                own.close()
            else:
                own.remove()
    return True


def _refuse_other(folder: Path, begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise a ValueError that says what has changed since the work was begun."""
    if begun.get("format") != FORMAT:
        raise ValueError(f"{folder} was begun by another version of napari-unet: begin anew with --overwrite")
    changed = changes(begun, wanted)
    if changed:
        raise ValueError(
            f"{folder} cannot be gone on with, because these have changed: {', '.join(changed)}; "
            "begin anew with --overwrite"
        )
