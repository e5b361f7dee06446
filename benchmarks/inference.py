"""Inference on a CPU: against MONAI's sliding window, against the matrix product, and what else takes time.

Run as ``PYTHONPATH=src python benchmarks/inference.py`` in an environment that has MONAI as well. Both run in
one process on the same weights and take turns. Networks are trained for a while first, since the halo that
suffices depends on their weights; ``--model`` and ``--volume-model`` name files to keep them in.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from rates import Work, forward_flops, matrix_product, median_seconds

from napari_unet.core import (
    LabelOptions,
    TrainConfig,
    Wanted,
    drain,
    load_model,
    new_model,
    open_image,
    open_labels,
    read_examples,
    save_model,
    train,
)
from napari_unet.core.calibration import choose_grid
from napari_unet.core.devices import reuse_memory
from napari_unet.core.examples import image_intensity
from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image
from napari_unet.core.io.image import make_image
from napari_unet.core.modelfile import Model
from napari_unet.core.normalise import normalise
from napari_unet.core.predicting import predict
from napari_unet.core.stacks import segment_stack
from napari_unet.core.starting import Architecture
from napari_unet.core.tiling import Region, TileGrid
from napari_unet.samples import nuclei

try:
    from monai.inferers import sliding_window_inference
except ImportError as error:
    raise SystemExit("MONAI is missing: pip install monai, best in an environment of its own.") from error

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).resolve().parents[1] / "../shared/data"))
Pixels = NDArray[np.float32]
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and a normalised image (C, *spatial) that it has not learnt from."""

    model: Model
    pixels: Pixels

    def predictor(self, precision: str = "auto") -> Predictor:
        """The model's network made ready."""
        return Predictor(self.model.network, CPU, precision)

    def grid(self, predictor: Predictor, halo: str | int = "auto") -> TileGrid:
        """The tiles that `segment` would choose for the image alone."""
        shape = self.pixels.shape[1:]

        def read(region: Region) -> Pixels:
            return self.pixels[:, *region[-len(shape) :]]

        return choose_grid(predictor, read, (1, *shape), halo=halo)

    def ours(self, predictor: Predictor, halo: str | int = "auto") -> Callable[[], Pixels]:
        """Predict the image as it lies in memory."""
        return partial(predict, predictor, self.pixels, self.grid(predictor, halo))

    def theirs(
        self, network: torch.nn.Module, dtype: torch.dtype, roi: tuple[int, ...], batch_size: int = 1,
        overlap: float = 0.25, mode: str = "constant",
    ) -> Callable[[], Pixels]:  # fmt: skip
        """Predict the image with MONAI."""
        image = torch.from_numpy(self.pixels[None]).to(dtype)

        @torch.inference_mode()
        def work() -> Pixels:
            logits = sliding_window_inference(image, roi, batch_size, network, overlap=overlap, mode=mode)
            return torch.softmax(logits[0].float(), 0).numpy()

        return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="2D model; trained and written there if it does not exist")
    parser.add_argument("--volume-model", type=Path, help="the same for 3D")
    parser.add_argument("--seconds", type=float, default=30, help="how long each is trained")
    parser.add_argument("--side", type=int, default=2048, help="of the image")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="plane,error,fp32,volume,stack", help="parts of the table")
    options = parser.parse_args()
    parts = options.only.split(",")
    print("| | bar | aim | reached |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        reuse_memory()  # as segment_stack does
        if {"plane", "error", "fp32", "stack"} & set(parts):
            model = kept(options.model or Path(folder, "plane.safetensors"), train_plane, options.seconds)
            image = mosaic(options.side)
            subject = Subject(model, pixels_of(image, model))
            if "fp32" in parts:
                against_fp32(subject, options.repeats)
            if "plane" in parts:
                against_bf16(subject, options.repeats)
            if "error" in parts:
                errors(subject)
            if "stack" in parts:
                outside_the_network(model, options.side, Path(folder))
        if "volume" in parts:
            reuse_memory()
            path = options.volume_model or Path(folder, "volume.safetensors")
            volumes(kept(path, train_volume, options.seconds), options.repeats)


def row(name: str, bar: str, aim: str, reached: str) -> None:
    """Print a row of the table."""
    print(f"| {name} | {bar} | {aim} | {reached} |", flush=True)


# What is measured


def against_fp32(subject: Subject, repeats: int) -> None:
    """The network as PyTorch comes, in MONAI's windows."""
    network = subject.model.network.eval()
    theirs = as_it_comes(subject.theirs(network, torch.float32, (512, 512)))
    predictor = subject.predictor()
    grids = subject.grid(predictor), stack_grid(subject, predictor)
    alone, in_stack = (partial(predict, predictor, subject.pixels, grid) for grid in grids)
    _, *ours, eager = median_seconds(alone, alone, in_stack, theirs, repeats=repeats, warm_ups=1)
    for name, seconds in zip(("alone", "of a stack"), ours, strict=True):
        reached = f"{eager / seconds:.2f}× ({seconds:.2f} s, {eager:.2f} s)"
        row(f"{name}: MONAI, fp32 eager, roi 512, overlap 0.25, constant", "4×", "6×", reached)


def against_bf16(subject: Subject, repeats: int) -> None:
    """The very network that `Predictor` makes ready, in MONAI's windows; and the matrix product."""
    predictor = subject.predictor()
    window = partial(subject.theirs, predictor.network, predictor.dtype, (512, 512))
    plain = [window(batch_size) for batch_size in (1, 2, 4)]
    gaussian = window(overlap=0.5, mode="gaussian")
    converted = deepcopy(subject.model.network).eval().to(predictor.dtype)
    converted.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    as_trained = subject.theirs(converted, predictor.dtype, (512, 512), 2)
    product, product_flops = matrix_product(4096, CPU, predictor.dtype)
    grids = subject.grid(predictor), stack_grid(subject, predictor)
    alone, in_stack = (partial(predict, predictor, subject.pixels, grid) for grid in grids)
    # the first one finds no memory of its size to reuse
    others = map(as_it_comes, [*plain, gaussian, as_trained])
    works = [alone, alone, in_stack, product, *others, plain[0], gaussian]
    seconds = median_seconds(*works, repeats=repeats, warm_ups=1)
    ours, matrix, plain_seconds = seconds[1:3], seconds[3], seconds[4:7]
    overlapping, unprepared, *reusing = seconds[7:]
    all_plain = ", ".join(f"{each:.2f}" for each in plain_seconds)
    flops = forward_flops(subject.model.network, 1, subject.pixels.shape[1:])
    for name, grid, seconds in zip(("alone", "of a stack"), grids, ours, strict=True):
        row(
            f"{name}: MONAI, our network, bf16 channels_last, best of sw_batch_size 1, 2, 4", "1.4×", "1.6×",
            f"{min(plain_seconds) / seconds:.2f}× ({seconds:.2f} s; {all_plain} s; "
            f"if it reuses memory as we do {reusing[0] / seconds:.2f}×; "
            f"batch norm not folded, skips copied, sw_batch_size 2: {unprepared / seconds:.2f}×)",
        )  # fmt: skip
        row(
            f"{name}: MONAI, the same, Gaussian, overlap 0.5", "2.5×", "3×",
            f"{overlapping / seconds:.2f}× ({overlapping:.2f} s; reusing memory {reusing[1] / seconds:.2f}×)",
        )  # fmt: skip
        row(
            f"{name}: useful arithmetic, share of the bf16 matrix product's rate", "60 %", "75 %",
            f"{flops / seconds * matrix / product_flops:.0%} (of {product_flops / matrix / 1e9:.0f} GFLOP/s; "
            f"halo {grid.halo[0]}, {len(grid)} tiles that read {grid.read_shape})",
        )  # fmt: skip


def errors(subject: Subject) -> None:
    """Differences from the whole image in one piece, all in fp32."""
    predictor = subject.predictor("fp32")
    whole = untiled(predictor, subject.pixels)
    window = partial(subject.theirs, predictor.network, torch.float32, (512, 512))
    cases = {
        "ours, default halo": subject.ours(predictor),
        "ours, halo of a stack": partial(predict, predictor, subject.pixels, stack_grid(subject, predictor)),
        "ours, --halo exact": subject.ours(predictor, "exact"),
        "MONAI constant 0.25": window(),
        "MONAI Gaussian 0.5": window(overlap=0.5, mode="gaussian"),
    }
    for name, work in cases.items():
        error = np.abs(work() - whole)
        reached = f"{error.max():.1e}, {error.mean():.1e}"
        row(f"largest and mean difference from the whole image: {name}", "", "", reached)


def stack_grid(subject: Subject, predictor: Predictor) -> TileGrid:
    """The tiles for fifty planes like the image, where measuring the halo pays."""

    def read(region: Region) -> Pixels:
        return subject.pixels[:, *region[1:]]

    return choose_grid(predictor, read, (50, *subject.pixels.shape[1:]))


def untiled(predictor: Predictor, pixels: Pixels) -> Pixels:
    """Predict the image, mirrored beyond its borders, in one piece."""
    halos = predictor.exact_halo
    around = [
        (0, 0),
        *((halo, halo + -size % 16) for halo, size in zip(halos, pixels.shape[1:], strict=True)),
    ]
    mirrored = torch.from_numpy(np.pad(pixels, around, mode="reflect")[None])
    with torch.inference_mode():
        logits = predictor.network(mirrored)[0]
    inner = (slice(halo, halo + size) for halo, size in zip(halos, pixels.shape[1:], strict=True))
    return torch.softmax(logits[:, *inner].float(), 0).numpy()


def volumes(model: Model, repeats: int) -> None:
    """The volume without labels, in MONAI's windows: as large as our tiles read, and its usual ones."""
    image = open_image(next((DATA / "big3d_fib25_raw/images").iterdir()))
    subject = Subject(model, pixels_of(image, model))
    predictor = subject.predictor()
    grid = subject.grid(predictor)
    rois = [tuple(map(min, grid.read_shape, grid.shape)), (96, 96, 96)]
    windows = [as_it_comes(subject.theirs(predictor.network, predictor.dtype, roi)) for roi in rois]
    ours, *others = median_seconds(subject.ours(predictor), *windows, repeats=repeats, warm_ups=1)
    for roi, seconds in zip(rois, others, strict=True):
        row(
            f"3D, MONAI, roi {roi}, our network in {predictor.precision}", "1.5×", "2.5×",
            f"{seconds / ours:.2f}× ({ours:.2f} s, {seconds:.2f} s; width {model.network.config.width}, "
            f"halo {grid.halo}, {len(grid)} tiles that read {grid.read_shape})",
        )  # fmt: skip


def outside_the_network(model: Model, side: int, folder: Path) -> None:
    """Time a stack from file to file, and what of it the network took."""
    planes = np.stack([np.rot90(mosaic(side).data, turns) for turns in range(4)])
    with timed_network() as taken:
        start = perf_counter()
        image = make_image(planes, "ZYX", {}, "pixel", (), "mosaic")
        drain(segment_stack(model, image, folder / "result.ome.zarr"))
        seconds = perf_counter() - start
    reached = f"{1 - sum(taken) / seconds:.1%} (of {seconds:.1f} s, {len(taken)} calls of the network)"
    row("time outside the network, 4 planes into OME-Zarr", "10 %", "3 %", reached)


# What it is measured with


@contextmanager
def timed_network() -> Iterator[list[float]]:
    """Note how long every prediction of tiles takes, whoever asks for it."""
    predict_batch, taken = Predictor._predict_batch, []

    def timed(*arguments: object) -> object:
        start = perf_counter()
        try:
            return predict_batch(*arguments)  # type: ignore[arg-type]
        finally:
            taken.append(perf_counter() - start)

    Predictor._predict_batch = timed  # type: ignore[assignment, method-assign]
    try:
        yield taken
    finally:
        Predictor._predict_batch = predict_batch  # type: ignore[method-assign]


def as_it_comes(work: Work) -> Work:
    """Let glibc hand large blocks back, as it does by itself, while somebody else computes."""

    def run() -> object:
        reuse_memory(False)
        try:
            return work()
        finally:
            reuse_memory()

    return run


def kept(path: Path, make: Callable[[float], Model], seconds: float) -> Model:
    """Read a model, or train it and write it there."""
    if not path.exists():
        save_model(make(seconds), path)
    return load_model(path)


def train_plane(seconds: float) -> Model:
    """A U-Net of width 32 and depth 4 that has seen the shipped nuclei."""
    pairs = [
        (
            make_image(each.image, "YX", {}, "pixel", (), each.name),
            make_image(each.objects, "YX", {}, "pixel", (), each.name),
        )
        for each in nuclei()[0]
    ]
    return trained(pairs, LabelOptions(task="objects"), Architecture(width=32, depth=4), seconds)


def train_volume(seconds: float) -> Model:
    """The default 3D U-Net that has seen a volume of the same tissue."""
    image, labels = (next((DATA / "em3d_fib25" / kind).iterdir()) for kind in ("images", "labels"))
    pairs = [(open_image(image), open_labels(labels))]
    return trained(pairs, LabelOptions(task="objects", ndim=3), Architecture(), seconds)


def trained(
    pairs: list[tuple[Image, Image]], options: LabelOptions, architecture: Architecture, seconds: float
) -> Model:
    """Train on the CPU, from random weights."""
    dataset = read_examples(pairs, options)
    model = new_model(dataset, architecture, device=CPU)
    return drain(train(model, Wanted(dataset.examples), TrainConfig(minutes=seconds / 60))).model


def mosaic(side: int) -> Image:
    """An image (side, side) made of the shipped nuclei that nothing is trained on, turned in four ways."""
    tests = [each.image for each in nuclei()[1]]
    rows = [
        np.concatenate([np.rot90(tests[(at + turn) % 4], turn) for at in range(4)], 1) for turn in range(4)
    ]
    square = np.concatenate(rows)
    repeats = -(-side // len(square))
    return make_image(np.tile(square, (repeats, repeats))[:side, :side], "YX", {}, "pixel", (), "mosaic")


def pixels_of(image: Image, model: Model) -> Pixels:
    """Read and normalise an image for a model."""
    return normalise(image.read(), replace(image_intensity(image), method=model.normalisation))


if __name__ == "__main__":
    main()
