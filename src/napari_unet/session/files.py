"""Jobs that read and write files: models, and annotations that the command line trains from alike."""

from collections.abc import Generator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.annotations import Meaning, save_annotation
from napari_unet.core.targets import ClassLabel
from napari_unet.session.annotated import Annotated

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model


def load(path: Path, device: str) -> "Generator[None, None, Model]":
    """Read a model from its file."""
    yield
    import_module("napari_unet.session.trainer")
    from napari_unet.core.devices import choose_device
    from napari_unet.core.modelfile import load_model

    return load_model(path, choose_device(device))


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
