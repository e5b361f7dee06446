"""What precedes a training: torch is loaded, intensities are measured, examples are gathered."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from napari_unet.core.examples import Dataset, image_intensity
from napari_unet.core.io import Image
from napari_unet.core.normalise import Intensity, choose_method
from napari_unet.core.targets import ClassLabel
from napari_unet.session.annotated import Annotated
from napari_unet.session.desk import Desk
from napari_unet.session.images import ImageChoice, open_layers
from napari_unet.session.jobs import Failure, Jobs, failure

_Pixels = tuple[object, ...]
"""The arrays of an image's layers."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    choices: tuple[ImageChoice, ...]
    then: Callable[[], object]
    otherwise: Callable[[], object]


class Intensities:
    """The intensities of each image, measured once, in the background."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._found: dict[ImageChoice, tuple[_Pixels, Intensity]] = {}
        self._waiting: list[_Waiting] = []
        self._is_busy = False

    def __getitem__(self, choice: ImageChoice) -> Intensity:
        return self._found[choice][1]

    def __contains__(self, choice: ImageChoice) -> bool:
        """Tell whether an image is known; other pixels in its layers are measured anew."""
        pixels, _ = self._found.get(choice, ((), None))
        return len(pixels) > 0 and all(a is b for a, b in zip(pixels, _pixels(choice), strict=True))

    def when_known(
        self,
        choices: Sequence[ImageChoice],
        then: Callable[[], object],
        otherwise: Callable[[], object] = lambda: None,
    ) -> None:
        """Call back as soon as these are measured, at once where they are; or when that has failed."""
        if all(choice in self for choice in choices):
            then()
            return
        self._waiting.append(_Waiting(tuple(choices), then, otherwise))
        self._measure()

    def _measure(self) -> None:
        """Measure what is waited for, one job at a time."""
        missing = dict.fromkeys(c for each in self._waiting for c in each.choices if c not in self)
        if not missing or self._is_busy:
            return

        def keep(found: tuple[Intensity, ...]) -> None:
            self._is_busy = False
            self._found.update(zip(missing, zip(pixels, found, strict=True), strict=True))
            self._call_back()
            self._measure()

        self._is_busy = True
        pixels = [_pixels(choice) for choice in missing]
        try:
            images = [open_layers(choice) for choice in missing]
        except (ValueError, TypeError) as error:
            self._give_up(failure(error))
        else:
            self._jobs.run(measure(images), keep, failed=self._give_up)

    def _give_up(self, why: Failure) -> None:
        self._is_busy = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.otherwise()
        self._jobs.listener.failed(why)

    def _call_back(self) -> None:
        ready = [each for each in self._waiting if all(choice in self for choice in each.choices)]
        self._waiting = [each for each in self._waiting if each not in ready]
        for each in ready:
            with self._jobs.telling():
                each.then()


def _pixels(choice: ImageChoice) -> _Pixels:
    return tuple(layer.data for layer in choice.layers)


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
    import_module("napari_unet.core.learner").warm_up()
    words: str = import_module("napari_unet.session.learning").device_of(device)
    return words


def gather(
    desk: Desk, intensities: Intensities, ndim: int, method: str | None, labels: tuple[ClassLabel, ...]
) -> Dataset:
    """Read what is annotated in all images; ValueError where they do not go together."""
    images = desk.painted
    if not images:
        raise ValueError("nothing is annotated any more: press Annotate and paint first")
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
