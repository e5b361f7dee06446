"""What there is to train on: targets, some held out to score on, the others drawn as batches."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from typing import Any, Literal

import numpy as np

from napari_unet.core.augment import MANY_IMAGES, ONE_STACK, Augmentation
from napari_unet.core.batches import Batch, BatchSource
from napari_unet.core.losses import LOSSES
from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import pools_for_spacing
from napari_unet.core.scoring import scored_windows
from napari_unet.core.targets import UNLABELLED, Example, Target, TargetOptions, make_target
from napari_unet.core.validation import Holdout, HoldoutSummary

DEFAULT_BATCH = {2: 16, 3: 4}
DEFAULT_PATCH = {2: 128, 3: 48}
SMALL_BATCHES = ((16, 4), (32, 2))
"""Until so many steps of a training that is watched, a batch is divided by so much: for quick first steps."""
LITTLE = 100_000
"""Labelled pixels; a network soon knows so few by heart, if they always look alike."""
LEARNING_RATES = {"batch": 4e-3, "none": 1e-3}


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Parameters
    ----------
    loss : str
        One of "ce", "weighted-ce", "dice", "ce+dice", "focal".
    minutes, steps : float and int, optional
        When to end; with neither, once the validation score has settled.
    batch_size, patch_size : int, optional
        Patches of a step, and their side; by default 16 of 128 pixels in 2D and 4 of 48 in 3D, less for
        thin images.
    learning_rate : float, optional
        By default 0.004 for networks with batch norm and 0.001 for those without.
    augmentation : Augmentation, optional
        By default mild for one stack with much annotation; strong for several images, and for few strokes.
    strengths : mapping of str to float
        Some of its strengths, by their names in `Augmentation`; the others are those of ``augmentation``.
    validation : float
        Share of the annotation that is held out to score on.
    keep : {"best", "latest"}
        Which weights a training ends with: those of the best score, or those that its last previews showed.
    w0, sigma : float
        Height and reach (pixels) of the weight map between objects.
    seed : int

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    loss: str = "ce+dice"
    minutes: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    patch_size: int | None = None
    learning_rate: float | None = None
    augmentation: Augmentation | None = None
    strengths: Mapping[str, Any] = field(default_factory=dict)
    validation: float = 0.2
    keep: Literal["best", "latest"] = "best"
    w0: float = 10.0
    sigma: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss is {self.loss!r}: choose one of {', '.join(LOSSES)}")
        if self.minutes is not None and self.steps is not None:
            raise ValueError("minutes and steps are both given: choose one of them")
        for name in ("minutes", "steps", "batch_size", "patch_size", "learning_rate", "sigma"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}: choose a value above 0")
        for name in ("w0", "seed"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}: choose 0 or more")
        if not 0 <= self.validation <= 0.5:
            raise ValueError(f"validation is {self.validation}: choose a share from 0 to 0.5")


class Supply:
    """Follow the examples that are annotated, and draw batches that fit into memory.

    Parameters
    ----------
    model : Model
        Decides on task, classes and patch shape.
    config : TrainConfig
    holdout : Holdout, optional
        What is held out already, from an earlier training of the network.
    """

    def __init__(self, model: Model, config: TrainConfig, holdout: Holdout | None = None) -> None:
        self._model, self._config = model, config
        self._device = next(model.network.parameters()).device
        self._options = TargetOptions(model.task, model.classes, config.w0, config.sigma)
        self._targets: dict[int, tuple[Example, Target]] = {}  # by the example's id
        self._batch_size = config.batch_size or DEFAULT_BATCH[model.network.config.ndim]
        self._patch_size = config.patch_size or DEFAULT_PATCH[model.network.config.ndim]
        self._holdout = holdout or Holdout()
        self._source: BatchSource | None = None
        self.validation: tuple[Target, ...] = ()
        self.scored: tuple[Target, ...] = ()
        self.targets: tuple[Target, ...] = ()

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel size along each axis of the targets."""
        return self._model.spacing

    def follow(self, examples: Sequence[Example], seed: int) -> Generator[None, None, HoldoutSummary]:
        """Make targets of examples that are new, keep those known already; return what is held out.

        Yields between pieces of work.
        """
        known = self._targets
        targets: dict[int, tuple[Example, Target]] = {}
        for example in examples:
            if id(example) not in known:
                if targets:
                    yield
                targets[id(example)] = example, make_target(example, self._options)
            else:
                targets[id(example)] = known[id(example)]
        self._targets = targets
        self.targets = tuple(target for _, target in targets.values())
        split = self._holdout.split(self.targets, self._config.validation, self._config.seed)
        self.validation = split.validation
        self.scored = scored_windows(split.validation, self._config.seed)
        self._source = BatchSource(
            split.training,
            len(self._model.classes),
            replace(self._config.augmentation or self._default_augmentation(), **self._config.strengths),
            self._config.seed + seed,
            self._device,
            balanced=self._config.loss == "weighted-ce",
            before=self._source,
        )
        self._patch_shape = self._fitting_patch()
        return split.summary

    def _default_augmentation(self) -> Augmentation:
        """Follow the data: what differs or is little is changed more, and nothing bends along long voxels."""
        n_sources = len({target.source for target in self.targets})
        alike = n_sources == 1 and self._n_labelled() > LITTLE
        factors = pools_for_spacing(self._model.spacing, 1)[0]
        rigid = tuple(axis for axis, factor in enumerate(factors) if factor == 1)
        return replace(ONE_STACK if alike else MANY_IMAGES, rigid=rigid)

    def _n_labelled(self) -> int:
        return sum(int(np.count_nonzero(target.classes != UNLABELLED)) for target in self.targets)

    def draw(self, step: int | None = None) -> Batch:
        """Draw the next batch of the examples that are followed; at the first steps a small one.

        Without a step, and where its size is given, it is never smaller than memory allows.
        """
        assert self._source is not None
        size = self._batch_size
        if step is not None and self._config.batch_size is None:
            divisor = next((divisor for end, divisor in SMALL_BATCHES if step < end), 1)
            size = max(min(size, 2), size // divisor)  # batch norm may need two
        return self._source.draw(size, self._patch_shape, self._model.network.margin)

    def shrink(self) -> str:
        """Ask for less memory from now on: half the batch, then half the patch."""
        before = self._batch_size, self._patch_shape
        if self._batch_size > 1:
            self._batch_size //= 2
            said = f"the batch is now {self._batch_size} patches"
        else:
            while self._patch_size > 1 and self._patch_shape == before[1]:
                self._patch_size //= 2
                self._patch_shape = self._fitting_patch()
            said = f"a patch is now {self._patch_shape} pixels"
        if before == (self._batch_size, self._patch_shape) or not self._can_normalise():
            raise MemoryError(
                f"memory does not suffice for batches of shape {(before[0], *before[1])}: "
                "use a smaller --width or --depth"
            )
        return f"memory is short: {said}"

    def _can_normalise(self) -> bool:
        """Tell whether the bottom level has more than one pixel in a batch: batch norm takes no fewer."""
        network = self._model.network
        cells = (size // step for size, step in zip(self._patch_shape, network.stride, strict=True))
        return network.config.norm == "none" or self._batch_size * prod(cells) > 1

    def _fitting_patch(self) -> tuple[int, ...]:
        """Patch shape that the network takes: no larger than the largest example along each axis."""
        network = self._model.network
        extents = zip(*(target.classes.shape for _, target in self._targets.values()), strict=True)
        wanted = [min(self._patch_size, max(extent)) for extent in extents]
        if any(network.margin):
            wanted = [-(-each // 2) for each in wanted]  # the margin comes on top
        return network.input_shape(wanted)
