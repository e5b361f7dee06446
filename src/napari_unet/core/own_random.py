"""Random numbers of a training that nobody else's draws change, and which change nobody else's."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class OwnRandom:
    """State of torch's global generators, from which dropout draws, for one training.

    Parameters
    ----------
    seed : int
    device : torch.device
        Where the network lives.

    Examples
    --------
    >>> own, before = OwnRandom(0, torch.device("cpu")), torch.get_rng_state()
    >>> with own.drawn():
    ...     _ = torch.rand(3)
    >>> bool((torch.get_rng_state() == before).all())
    True
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self._gpus = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(self._gpus):
            torch.manual_seed(seed)
            self._states = self._read()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Let what draws within the block continue this sequence; the global one stays as it was."""
        with torch.random.fork_rng(self._gpus):
            self._write(self._states)
            try:
                yield
            finally:
                self._states = self._read()

    def _read(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(gpu) for gpu in self._gpus)]

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for gpu, state in zip(self._gpus, states[1:], strict=True):
            torch.cuda.set_rng_state(state, gpu)
