"""A network that learns: its optimiser, and the running average of its weights."""

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from napari_unet.core.batches import Batch
from napari_unet.core.losses import Loss, object_loss
from napari_unet.core.networks import Network
from napari_unet.core.validation import Holdout

EMA_DECAY = 0.98
CLIP_NORM = 5.0
Snapshot = Mapping[str, Tensor]


class Learner:
    """Take optimiser steps and keep the exponential moving average (EMA) of the weights.

    Parameters
    ----------
    network : UNet or EncoderNetwork
        On the device that trains; it is changed in place.
    loss : Loss
        In the task objects that of background against foreground.
    precision : torch.dtype
        Of the activations: bfloat16 where the hardware multiplies it fast, else float32.

    Attributes
    ----------
    network : UNet or EncoderNetwork
        What learns.
    average : UNet or EncoderNetwork
        What is used: the running average of its weights.
    steps : int
        Those that changed the weights, in all trainings together.
    holdout : Holdout
        What it is scored on and has not been trained on.
    """

    def __init__(self, network: Network, loss: Loss, precision: torch.dtype) -> None:
        self.network = network
        self.average = deepcopy(network).requires_grad_(False).eval()
        self._loss = loss
        self._precision = precision
        self._optimiser = torch.optim.AdamW(
            network.parameters(), weight_decay=1e-4, fused=_has_fused(network)
        )
        self.steps = 0
        self.holdout = Holdout()
        self._good = self.snapshot()

    def go_on(self, loss: Loss, precision: torch.dtype) -> None:
        """Prepare for another training, perhaps with another loss or on another device."""
        self._loss, self._precision = loss, precision
        self.average.to(next(self.network.parameters()).device)
        self._optimiser.load_state_dict(self._optimiser.state_dict())  # moves the moments to the weights
        for group in self._optimiser.param_groups:
            group["fused"] = _has_fused(self.network)
        self._good = self.snapshot()

    def learn(self, batch: Batch, learning_rate: float) -> float:
        """Take one step and return the loss; a non-finite loss changes no weight."""
        self.network.train()
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        logits = self._forward(batch.images)
        loss = self._loss_of(logits, batch)
        value = float(loss.detach())
        if value != value or abs(value) == float("inf"):
            return value
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        if not torch.isfinite(norm):
            return float("nan")
        self._optimiser.step()
        self.steps += 1
        self._update_average()
        return value

    def _forward(self, images: Tensor) -> Tensor:
        device = images.device.type
        reduced = self._precision != torch.float32 and not (device == "cpu" and self._is_flat(images.shape))
        with torch.autocast(device, self._precision, enabled=reduced):
            logits: Tensor = self.network(images)
        return logits

    def _loss_of(self, logits: Tensor, batch: Batch) -> Tensor:
        if batch.core_share is None:
            return self._loss(logits, batch.classes, batch.weight)
        return object_loss(logits, batch.classes, batch.weight, batch.core_share, self._loss)

    def _is_flat(self, shape: Sequence[int]) -> bool:
        """Tell whether some level of a 3D network sees two planes.

        There the CPU's bf16 weight gradient of a 3x3x3 convolution is undefined (torch 2.13, oneDNN 3.12).
        """
        config = self.network.config
        sizes = [self.network.input_shape(shape[2:])[0]] if config.ndim == 3 else []
        for pool in config.pools[: len(sizes) * config.depth]:
            sizes.append(sizes[-1] // pool[0])
        return 2 in sizes

    def snapshot(self) -> dict[str, Tensor]:
        """Copy the averaged weights."""
        return {name: value.detach().clone() for name, value in self.average.state_dict().items()}

    def remember(self) -> Snapshot | None:
        """Keep the averaged weights as the last good ones and return them; None if they are not finite."""
        snapshot = self.snapshot()
        if not all(bool(torch.isfinite(value).all()) for value in snapshot.values()):
            return None
        self._good = snapshot
        return snapshot

    def copy(self) -> Network:
        """Copy the averaged network, or the last good one, to the CPU; the copy can be trained."""
        network = deepcopy(self.average).requires_grad_(True)
        network.load_state_dict(self.remember() or self._good)
        return network.to("cpu")

    def go_back(self) -> None:
        """Return to the last good weights with a fresh optimiser."""
        self.restore(self._good)
        self._optimiser.state.clear()

    def restore(self, snapshot: Snapshot) -> None:
        """Set network and average to the weights of a snapshot."""
        self.network.load_state_dict(snapshot)
        self.average.load_state_dict(snapshot)

    def _update_average(self) -> None:
        # a short memory at first, so that the average leaves the random start behind
        decay = min(EMA_DECAY, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for mean, value in zip(
                self.average.state_dict().values(), self.network.state_dict().values(), strict=True
            ):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)


def warm_up() -> None:
    """Let torch load what its optimisers need: most of a second, once, better before somebody waits."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])


def _has_fused(network: nn.Module) -> bool:
    return next(network.parameters()).device.type in ("cpu", "cuda")
