"""A network made ready: its tiles as large as the memory allows, its type that of the device."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_unet.core.devices import DTYPES, can_reuse_memory, choose_precision, free_memory, is_out_of_memory
from napari_unet.core.networks import Network
from napari_unet.core.networks.prepared import prepare_for_inference
from napari_unet.core.networks.regions import relative
from napari_unet.core.tiling import Region, Shape, TileGrid, balanced_tile_shape, round_up

# Level 0 has to hold the skip, the upsampled map, what two convolutions make of them, and their workspace;
# the levels below add about one map, and gaps in memory that is reused up to three (measured with width 16
# and 32: 5.6 to 8.2, in fp32 up to 9.5; in 3D, where less of the halo is decoded, 2.8 to 4.6).
MAPS_OF_LEVEL_0 = {2: 9, 3: 6}
# Larger tiles gain little: the halo of a 2D tile costs a few per cent there; in 3D a GPU is worth more room.
MOST_MEMORY = {"cpu": 2 * 2**30, "cuda": 8 * 2**30, "mps": 2 * 2**30}
# Larger maps come with fresh pages each time, which costs a CPU more than the halo of smaller 2D tiles.
REUSED_MAP = 32 * 2**20


class Predictor:
    """A network made ready to predict; the network itself is neither changed nor kept.

    Batch normalisation is folded into the convolutions before it, weights are converted to the precision
    once, memory is laid out channels last.

    Parameters
    ----------
    network : UNet or EncoderNetwork
        What is copied; where it is trained further the predictor stays as it is.
    device : torch.device, optional
        Where to compute; the network's device by default.
    precision : {"auto", "fp32", "bf16"}, optional
        "auto" is bf16 where the hardware computes it.

    Examples
    --------
    >>> from napari_unet.core.networks.unet import UNet, UNetConfig
    >>> predictor = Predictor(UNet(UNetConfig(width=4, depth=2, n_classes=3)))
    >>> predictor.probabilities(torch.zeros(1, 1, 20, 30)).shape
    torch.Size([1, 3, 20, 30])
    """

    def __init__(self, network: Network, device: torch.device | None = None, precision: str = "auto") -> None:
        self.device = device or next(network.parameters()).device
        self.dtype = choose_precision(self.device, precision)
        self.reuses_memory = self.device.type != "cpu" or can_reuse_memory()
        self._format = torch.channels_last if network.config.ndim == 2 else torch.channels_last_3d
        self.network = prepare_for_inference(network).to(self.device, self.dtype)
        self.network.to(memory_format=self._format)  # type: ignore[call-overload]  # torch's stub lacks it

    @property
    def precision(self) -> str:
        """Name of the type in which the network computes."""
        return next(name for name, dtype in DTYPES.items() if dtype == self.dtype)

    @property
    def exact_halo(self) -> Shape:
        """The halo with which tiled equals untiled, a multiple of the stride along each axis.

        A network that loses a margin reads its context there; less than one stride of difference comes from
        where its pooling cells lie, more from interpolation at its borders.
        """
        axes = zip(self.network.context, self.network.margin, self.network.stride, strict=True)
        return tuple(
            (context - margin) // stride * stride if margin else round_up(context, stride)
            for context, margin, stride in axes
        )

    def grid(
        self, shape: Sequence[int], halo: Sequence[int] | None = None, tile: int | None = None
    ) -> TileGrid:
        """Plan the tiles of an image.

        Parameters
        ----------
        shape : sequence of int
            Spatial shape of the image.
        halo : sequence of int, optional
            Multiples of the stride; the exact halo by default.
        tile : int, optional
            Largest side of a tile; by default as large as the memory allows.

        Returns
        -------
        TileGrid
            Tiles whose origins are multiples of the stride.
        """
        halo = self.exact_halo if halo is None else tuple(halo)
        largest = (tile,) * len(shape) if tile else self._largest_tile(shape, halo)
        tile_shape = balanced_tile_shape(shape, largest, self.network.stride)
        return TileGrid(
            tuple(shape), tile_shape, halo, self.network.margin, self.read_shape(tile_shape, halo)
        )

    def read_shape(self, tile_shape: Sequence[int], halo: Sequence[int]) -> Shape:
        """Spatial shape of the network's input for a tile."""
        return self.network.input_shape(
            [size + 2 * each for size, each in zip(tile_shape, halo, strict=True)]
        )

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """Return float32 logits (B, n_classes, …) of normalised images (B, C, …)."""
        logits: Tensor = self.network(self._ready(images))
        return logits.float()

    def probabilities(self, images: Tensor) -> Tensor:
        """Return float32 probabilities (B, n_classes, …) of normalised images (B, C, …)."""
        return torch.softmax(self.logits(images), dim=1)

    def predict_tile(self, block: NDArray[np.float32], crop: Region) -> NDArray[np.float32]:
        """Return the float32 probabilities (n_classes, *crop) of one tile; see `predict_tiles`."""
        return self.predict_tiles([block], [crop], classes=False)[0]

    def predict_tiles(
        self, blocks: Sequence[NDArray[np.float32]], crops: Sequence[Region], *, classes: bool
    ) -> list[NDArray[Any]]:
        """Predict what tiles have read, all at once; in smaller pieces where the memory does not suffice.

        Parameters
        ----------
        blocks : sequence of ndarray (C, *read) of float32
            Normalised pixels, halo and margin included; equally large, as those of one `TileGrid` are.
        crops : sequence of tuple of slice
            For each block the part of the output that is kept; starts after the halo.
        classes : bool
            Whether to return the index of the most probable class instead of probabilities: less work, and
            less to copy from a GPU.

        Returns
        -------
        list of ndarray (n_classes, *crop) of float32, or (*crop) of uint8
            Probabilities, or indices of classes (int16 where there are more than 256).

        Raises
        ------
        MemoryError
            If even a piece of one stride is too much.

        Examples
        --------
        >>> from napari_unet.core.networks.unet import UNet, UNetConfig
        >>> predictor = Predictor(UNet(UNetConfig(width=4, depth=2, n_classes=3)))
        >>> block, crop = np.zeros((1, 40, 40), np.float32), (slice(4, 20), slice(4, 30))
        >>> [labels] = predictor.predict_tiles([block], [crop], classes=True)
        >>> labels.shape, labels.dtype
        ((16, 26), dtype('uint8'))
        """
        try:
            return self._predict_batch(blocks, crops, classes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if len(blocks) == 1:
            return [self._predict_halves(blocks[0], crops[0], classes)]
        half = len(blocks) // 2
        first = self.predict_tiles(blocks[:half], crops[:half], classes=classes)
        return first + self.predict_tiles(blocks[half:], crops[half:], classes=classes)

    def batch_size(self, read_shape: Sequence[int]) -> int:
        """Return how many tiles to predict at once: a tile keeps a CPU busy, a GPU takes what fits."""
        return 1 if self.device.type == "cpu" else max(1, int(self._most_pixels() / prod(read_shape)))

    @torch.inference_mode()
    def _predict_batch(
        self, blocks: Sequence[NDArray[np.float32]], crops: Sequence[Region], classes: bool
    ) -> list[NDArray[Any]]:
        images = torch.from_numpy(blocks[0][None] if len(blocks) == 1 else np.stack(blocks))
        common = _around(crops)
        ready = self._ready(images.pin_memory() if self.device.type == "cuda" else images)
        logits = self.network(ready, common)
        kept = [each[:, *relative(crop, common)] for each, crop in zip(logits, crops, strict=True)]
        # a GPU is given all its work before the first copy back is waited for
        finished = [_class_indices(each) if classes else torch.softmax(each.float(), dim=0) for each in kept]
        return [each.cpu().numpy() for each in finished]

    def _ready(self, images: Tensor) -> Tensor:
        moved = images.to(self.device, non_blocking=True)
        return moved.to(self.dtype).contiguous(memory_format=self._format)

    def _predict_halves(self, block: NDArray[np.float32], crop: Region, classes: bool) -> NDArray[Any]:
        shape = [part.stop - part.start for part in crop]
        axis = longest_divisible_axis(shape, self.network.stride)
        if axis is None:
            raise MemoryError(
                f"the memory of {self.device} does not suffice for one tile: use a smaller --halo"
            )
        first = round_up(shape[axis] // 2, self.network.stride[axis])
        pieces = (0, first), (first, shape[axis] - first)
        results = [self._predict_piece(block, crop, axis, start, size, classes) for start, size in pieces]
        return np.concatenate(results, axis=axis - len(crop))

    def _predict_piece(
        self, block: NDArray[np.float32], crop: Region, axis: int, start: int, size: int, classes: bool
    ) -> NDArray[Any]:
        halo = crop[axis].start
        piece = (*crop[:axis], slice(halo, halo + size), *crop[axis + 1 :])
        tile_shape = [
            round_up(part.stop - part.start, step)
            for part, step in zip(piece, self.network.stride, strict=True)
        ]
        length = self.read_shape(tile_shape, [part.start for part in piece])[axis]
        part = np.take(block, range(start, start + length), axis=axis + 1)
        return self.predict_tiles([part], [piece], classes=classes)[0]

    def _largest_tile(self, shape: Sequence[int], halo: Shape) -> Shape:
        """Split the longest side until a tile's peak fits the memory."""
        stride, most = self.network.stride, self._most_pixels()
        tile = [round_up(size, step) for size, step in zip(shape, stride, strict=True)]
        while prod(self.read_shape(tile, halo)) > most:
            axis = longest_divisible_axis(tile, stride)
            if axis is None:
                break
            n_pieces = -(-shape[axis] // tile[axis]) + 1
            tile[axis] = min(tile[axis] - stride[axis], round_up(-(-shape[axis] // n_pieces), stride[axis]))
        return tuple(tile)

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that a prediction takes for each pixel that a tile reads."""
        config = self.network.config
        return MAPS_OF_LEVEL_0[config.ndim] * config.width * self.dtype.itemsize + 8 * config.n_classes

    def _most_pixels(self) -> float:
        config = self.network.config
        most = min(MOST_MEMORY[self.device.type], free_memory(self.device) / 2) / self.bytes_per_pixel
        if self.reuses_memory or config.ndim == 3:
            return most
        return min(most, REUSED_MAP / (config.width * self.dtype.itemsize))


def _around(crops: Sequence[Region]) -> Region:
    """Return the smallest region that holds all of them."""
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*crops, strict=True)
    )


def _class_indices(logits: Tensor) -> Tensor:
    """Return which of the logits (n_classes, …) is largest, in the smallest type that holds it."""
    if len(logits) == 2:
        return (logits[1] > logits[0]).to(torch.uint8)
    return logits.argmax(dim=0).to(torch.uint8 if len(logits) <= 256 else torch.int16)


def longest_divisible_axis(shape: Sequence[int], stride: Sequence[int]) -> int | None:
    """Return the longest axis that has more than one stride, None if there is none."""
    axes = [axis for axis, step in enumerate(stride) if shape[axis] > step]
    return max(axes, key=lambda axis: shape[axis], default=None)
