"""What precedes a training: torch is loaded, intensities are measured, examples are gathered."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from importlib import import_module

from napari_unet.core.examples import Dataset, image_intensity
from napari_unet.core.io import Image
from napari_unet.core.normalise import Intensity, choose_method
from napari_unet.core.targets import ClassLabel
from napari_unet.session.annotated import Annotated
from napari_unet.session.desk import Desk
from napari_unet.session.images import ImageChoice, open_layers
from napari_unet.session.jobs import Failure, Start


class Intensities:
    """The intensities of each image, measured once, in the background."""

    def __init__(self, start: Start, failed: Callable[[Failure], object]) -> None:
        self._start, self._failed = start, failed
        self._found: dict[ImageChoice, Intensity] = {}

    def __getitem__(self, choice: ImageChoice) -> Intensity:
        return self._found[choice]

    def __contains__(self, choice: ImageChoice) -> bool:
        return choice in self._found

    def when_known(self, choices: Sequence[ImageChoice], then: Callable[[], object]) -> None:
        """Call back as soon as these are measured: at once where they are."""
        missing = [choice for choice in choices if choice not in self._found]
        if not missing:
            then()
            return

        def keep(found: tuple[Intensity, ...]) -> None:
            self._found.update(zip(missing, found, strict=True))
            then()

        job = measure([open_layers(choice) for choice in missing])
        self._start(job, lambda _: None, keep, self._failed)


def measure(images: Sequence[Image]) -> Generator[None, None, tuple[Intensity, ...]]:
    """Measure the intensities of images from a few chunks of each; load torch, which they are for."""
    import_module("napari_unet.session.trainer")
    found = []
    for image in images:
        yield
        found.append(image_intensity(image))
    return tuple(found)


def load_torch(device: str) -> Generator[None, None, str]:
    """Import what trains, which takes seconds, and describe the device that it will use."""
    yield
    import_module("napari_unet.session.trainer")
    words: str = import_module("napari_unet.session.learning").device_of(device)
    return words


def gather(
    desk: Desk, intensities: Intensities, ndim: int, method: str | None, labels: tuple[ClassLabel, ...]
) -> Dataset:
    """Read what is annotated in all images; ValueError where they do not go together."""
    images = desk.images
    _check(images, ndim)
    method = method or choose_method([intensities[each.choice] for each in images])
    examples = tuple(
        example
        for each in images
        for example in each.examples(ndim, replace(intensities[each.choice], method=method))  # type: ignore[arg-type]
    )
    first = images[0].image
    axes, spacing = "ZYX"[-ndim:], first.spacing[-ndim:]
    return Dataset(examples, desk.task, labels, axes, spacing, first.unit, first.channels, method, notes=())


def _check(images: Sequence[Annotated], ndim: int) -> None:
    first = images[0].image
    for image in (each.image for each in images):
        if image.n_channels != first.n_channels:
            raise ValueError(
                f"{image.name} has {image.n_channels} channels and {first.name} has {first.n_channels}: "
                "choose as many for each image"
            )
        if len(image.spatial_shape) < ndim:
            raise ValueError(f"{image.name} has no Z axis: choose 2D in the advanced options")
