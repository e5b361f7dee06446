"""Files that are read and written: models, and annotations that the command line trains from alike."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.annotations import Meaning, save_annotation
from napari_unet.core.targets import ClassLabel
from napari_unet.session.annotated import Annotated
from napari_unet.session.classes import paintable
from napari_unet.session.desk import Desk
from napari_unet.session.jobs import Jobs
from napari_unet.session.keeping import Keeping, put_back
from napari_unet.session.teaching import Teaching
from napari_unet.session.words import differences

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model


class Files:
    """Save and load models and annotations; put back what was kept, which lies in files as well."""

    def __init__(
        self,
        desk: Desk,
        teaching: Teaching,
        keeping: Keeping,
        jobs: Jobs,
        verb: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._desk, self._teaching, self._keeping = desk, teaching, keeping
        self._jobs, self._verb = jobs, verb

    def save_model(self, path: Path) -> None:
        """Write the model as it is now."""
        say = self._jobs.listener.said

        def write(model: "Model") -> None:
            self._jobs.run(save(model, path), lambda _: say(f"the model is saved as {path.name}"))

        self._teaching.ask(write)

    def load_model(self, path: Path) -> None:
        """Go on from a model in a file."""
        self._jobs.run(load(path, self._device), partial(self._use, path.name))

    @property
    def _device(self) -> str:
        return self._teaching.settings.device

    def _use(self, name: str, model: "Model") -> None:
        with self._verb():
            self._teaching.check_idle()
            self._desk.set_task(model.task)
            if model.task == "classes":
                self._desk.follow_model(model.classes)
            self._teaching.use(model)
            self._jobs.listener.said(f"{name} is loaded{differences(model.classes, self._desk.labels)}")

    def save_annotation(self, path: Path) -> None:
        """Write the annotation of the chosen image."""
        image = self._desk.current
        if image is None or not image.planes:
            raise ValueError("nothing is annotated on this image: paint something first")
        say = self._jobs.listener.said
        job = write_annotation(image, self._desk.labels, path)
        self._jobs.run(job, lambda _: say(f"the annotation is saved as {path.name}"))

    def restore(self) -> None:
        """Put back strokes and classes, and the model where there is none."""
        self._teaching.check_idle()
        found = self._keeping.accept()
        for kept in found:
            self._keeping.note(put_back(kept, self._desk), self._desk.classes)
        self._teaching.look_anew()
        for path in [kept.model for kept in found if kept.model is not None]:
            self._jobs.run(load(path, self._device), partial(self._go_on_with, path))

    def _go_on_with(self, path: Path, model: "Model") -> None:
        with self._verb():
            if self._teaching.model_of(model.task) is None:
                self._teaching.use(model)
            else:
                self._jobs.listener.said(
                    f"the present model stays; the one that was kept can be loaded from {path}"
                )


def load(path: Path, device: str) -> "Generator[None, None, Model]":
    """Read a model from its file."""
    yield
    import_module("napari_unet.session.trainer")
    from napari_unet.core.devices import choose_device
    from napari_unet.core.modelfile import load_model

    model = load_model(path, choose_device(device))
    return replace(model, classes=paintable(model.classes))  # dense masks may have values above 254


def save(model: "Model", path: Path) -> Generator[None, None, Path]:
    """Write a model to its file; whoever chose the name has agreed to replace what was there."""
    yield
    from napari_unet.core.modelfile import save_model

    save_model(model, path, overwrite=True)
    return path


def write_annotation(
    image: Annotated, labels: Sequence[ClassLabel], path: Path
) -> Generator[None, None, Path]:
    """Write an annotation as it is now; whoever chose the name has agreed to replace what was there."""
    planes = {index: image.plane(index).copy() for index in image.planes}
    meaning = Meaning(image.task, tuple(labels), tuple(image.complete))
    axes, shape = f"{image.choice.plane_axes}YX", image.choice.annotation_shape
    spacing, unit = image.image.spacing, image.image.unit

    def write() -> Generator[None, None, Path]:
        yield
        save_annotation(
            path, planes, meaning, axes=axes, shape=shape, spacing=spacing, unit=unit, overwrite=True
        )
        return path

    return write()
