"""What precedes a training: torch is loaded, intensities are measured, examples are gathered."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Literal
from weakref import WeakKeyDictionary

from napari_unet.core.examples import Dataset, image_intensity
from napari_unet.core.io import Image
from napari_unet.core.normalise import Intensity, choose_method
from napari_unet.core.targets import ClassLabel
from napari_unet.session.annotated import Annotated, Pixels, Unread
from napari_unet.session.desk import Desk
from napari_unet.session.images import ImageChoice, open_layers
from napari_unet.session.jobs import Failure, Jobs, failure

_Pixels = tuple[object, ...]
"""The arrays of an image's layers."""


@dataclass(frozen=True)
class Scale:
    """Spatial axes of a network, and how it wants its intensities; None: as suits the images."""

    ndim: Literal[2, 3]
    method: str | None


@dataclass(frozen=True, eq=False)
class _Waiting:
    choices: tuple[ImageChoice, ...]
    then: Callable[[], object]
    otherwise: Callable[[], object]


class Intensities:
    """The intensities of each image, measured once, in the background."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        # weak: of an image that has been deleted nothing stays in memory
        self._found: WeakKeyDictionary[ImageChoice, tuple[_Pixels, Intensity]] = WeakKeyDictionary()
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


class Reading:
    """All that is painted, measured and read in the background, before examples are made of it."""

    def __init__(self, jobs: Jobs, desk: Desk, intensities: Intensities, scale: Callable[[], Scale]) -> None:
        self._jobs, self._desk, self._intensities, self._scale = jobs, desk, intensities, scale
        self._waiting: list[tuple[Callable[[], object], Callable[[], object]]] = []

    def when_ready(self, then: Callable[[], object], otherwise: Callable[[], object] = lambda: None) -> None:
        """Call back once all that is painted by then is measured and read; or when that has failed."""

        def check() -> None:
            if not all(image.choice in self._intensities for image in self._desk.painted):
                self.when_ready(then, otherwise)  # another image has been painted on meanwhile
                return
            try:
                wanted = unread(self._desk, self._intensities, self._scale())
            except Exception:
                otherwise()
                raise
            if wanted:
                self._read(wanted, check, otherwise)
            else:
                then()

        choices = [image.choice for image in self._desk.painted]
        self._intensities.when_known(choices, check, otherwise)

    def _read(
        self,
        wanted: Sequence[tuple[Annotated, Unread]],
        look_again: Callable[[], object],
        otherwise: Callable[[], object],
    ) -> None:
        """Read, one job at a time: where one runs, look again when it has ended."""
        self._waiting.append((look_again, otherwise))
        if len(self._waiting) == 1:
            self._jobs.run(read(wanted), self._keep, failed=self._give_up)

    def _keep(self, found: Sequence[tuple[Annotated, Pixels]]) -> None:
        for image, pixels in found:
            image.keep(pixels)
        waiting, self._waiting = self._waiting, []
        self._look_again(waiting)

    def _give_up(self, why: Failure) -> None:
        (_, otherwise), *others = self._waiting
        self._waiting = []
        otherwise()
        self._jobs.listener.failed(why)
        self._look_again(others)

    def _look_again(self, waiting: Sequence[tuple[Callable[[], object], Callable[[], object]]]) -> None:
        for look_again, _ in waiting:
            with self._jobs.telling():
                look_again()


def unread(desk: Desk, intensities: Intensities, scale: Scale) -> list[tuple[Annotated, Unread]]:
    """Return what is painted and not read yet."""
    pairs = _with_intensities(desk.painted, intensities, scale)
    return [(image, each) for image, how in pairs for each in image.unread(scale.ndim, how)]


def read(wanted: Sequence[tuple[Annotated, Unread]]) -> Generator[None, None, list[tuple[Annotated, Pixels]]]:
    """Read regions of images, and bring them to common intensities."""
    found = []
    for image, each in wanted:
        yield
        found.append((image, each.read()))
    return found


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


def gather(desk: Desk, intensities: Intensities, scale: Scale, labels: tuple[ClassLabel, ...]) -> Dataset:
    """Return what is annotated in all images, as it was read; ValueError where they do not go together."""
    images = desk.painted
    if not images:
        raise ValueError("nothing is annotated any more: press Annotate and paint first")
    pairs = _with_intensities(images, intensities, scale)
    examples = tuple(example for image, how in pairs for example in image.examples(scale.ndim, how))
    first, ndim, method = images[0].image, scale.ndim, pairs[0][1].method
    axes, spacing = "ZYX"[-ndim:], first.spacing[-ndim:]
    return Dataset(examples, desk.task, labels, axes, spacing, first.unit, first.channels, method, notes=())


def _with_intensities(
    images: Sequence[Annotated], intensities: Intensities, scale: Scale
) -> list[tuple[Annotated, Intensity]]:
    """Pair images with their intensities, to be used alike; ValueError where they do not go together."""
    if not images:
        return []
    _check(images, scale.ndim)
    measured = [intensities[each.choice] for each in images]
    method = scale.method or choose_method(measured)
    return [(image, replace(each, method=method)) for image, each in zip(images, measured, strict=True)]


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
