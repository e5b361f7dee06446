"""Annotated regions to augmented batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_unet.core.augment import Augmentation, augment
from napari_unet.core.patches import Patch, PatchSampler
from napari_unet.core.targets import UNLABELLED, Target, class_weights
from napari_unet.core.tiling import mirror_indices


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Parameters
    ----------
    images : Tensor of float32, shape (B, C, *patch_shape)
    classes : Tensor of int64, shape (B, *output_shape)
    weight : Tensor of float32, shape (B, *output_shape)
        0 = unlabelled.
    core_share : Tensor of float32, shape (B, *output_shape), optional
        In the task objects how much of the foreground is core, 0 to 1.
    """

    images: Tensor
    classes: Tensor
    weight: Tensor
    core_share: Tensor | None = None


class BatchSource:
    """Draw augmented batches from targets, as tensors on the device that trains.

    Parameters
    ----------
    targets : sequence of Target
    n_classes : int
    augmentation : Augmentation
    seed : int
    device : torch.device
    balanced : bool
        Whether rare classes weigh more; every class weighs 1 otherwise.
    before : BatchSource, optional
        One that knows some of these targets already.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        n_classes: int,
        augmentation: Augmentation,
        seed: int,
        device: torch.device,
        *,
        balanced: bool = False,
        before: "BatchSource | None" = None,
    ) -> None:
        self._targets = targets
        self._augmentation = augmentation
        self._sampler: PatchSampler = PatchSampler(
            [target.classes for target in targets],
            n_classes,
            np.random.default_rng(seed),
            None if before is None else before._sampler,
        )
        self._generator = torch.Generator(device).manual_seed(seed)
        # indexed by class; the last entry is what UNLABELLED weighs
        weights = np.zeros(UNLABELLED + 1, np.float32)
        weights[:n_classes] = class_weights(targets, n_classes) if balanced else 1
        self._class_weights = torch.from_numpy(weights).to(device)

    def draw(self, batch_size: int, patch_shape: Sequence[int], margin: Sequence[int]) -> Batch:
        """Draw a batch; the target lacks the margin that a valid-padding network loses.

        What is left of a patch is placed around the labelled pixel that it was drawn for, mostly inside the
        example where it fits; turning, scaling and bending may then move that pixel out of it. What lies
        beyond the example is mirrored, as in inference.
        """
        window_shape = self._augmentation.window_shape(patch_shape)
        output_shape = [size - 2 * lost for size, lost in zip(patch_shape, margin, strict=True)]
        windows = [
            self._window(self._sampler.draw(output_shape), output_shape, window_shape)
            for _ in range(batch_size)
        ]
        device = self._generator.device
        images = torch.from_numpy(np.stack([image for image, _ in windows])).to(device)
        targets = torch.from_numpy(np.stack([target for _, target in windows])).to(device)
        images, targets = augment(images, targets, patch_shape, self._augmentation, self._generator)
        inner = tuple(slice(lost, size - lost) for lost, size in zip(margin, patch_shape, strict=True))
        targets = targets[(slice(None), slice(None), *inner)]
        classes = targets[:, 0].long()
        weight = self._class_weights[classes]
        weight = torch.where(classes == UNLABELLED, 0, weight + targets[:, 1])
        core_share = targets[:, 2] if targets.shape[1] > 2 else None
        return Batch(images, classes, weight, core_share)

    def _window(
        self, patch: Patch, output_shape: Sequence[int], window_shape: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Region around the output: image (C, *window); classes, separation, core share (2 or 3, *window)."""
        target = self._targets[patch.example]
        places = []
        for start, size, window, extent in zip(
            patch.start, output_shape, window_shape, target.classes.shape, strict=True
        ):
            first = start - (window - size) // 2
            places.append(mirror_indices(first, first + window, extent))
        region = np.ix_(*places)
        image = np.stack([channel[region] for channel in target.image])
        layers = [target.classes[region].astype(np.float32), target.separation[region]]
        if target.core_share is not None:
            layers.append(target.core_share[region])
        return image, np.stack(layers)
