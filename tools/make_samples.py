"""Cut the shipped sample images out of the data folder: `NAPARI_UNET_DATA=… python tools/make_samples.py`.

Only `fluo2d_dsb2018` is read, which is CC0. Training and test samples keep the sides they have in
`splits.json`, and the stack takes no test field: a model trained on samples may be scored on the test ones.
"""

import json
import os
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from skimage.segmentation import relabel_sequential

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("NAPARI_UNET_DATA", ROOT / "../shared/data"))
OUT = ROOT / "src/napari_unet/samples"

# name: (file, (top, left) of the crop), each from another kind of field
TRAIN = {
    "sparse": ("256x256_1db1cddf28e3", (0, 0)),
    "debris": ("260x347_0402a81e7526", (0, 60)),
    "large": ("360x360_b1a239838c7d", (50, 60)),
    "uneven": ("512x640_df5cdd0ebe1b", (220, 180)),
    "crowded": ("520x696_bde3727f3a9e", (100, 380)),
}
TEST = {
    "mixed": ("256x256_1c681dfa5cf7", (0, 0)),
    "touching": ("360x360_295ac4ecf2ee", (0, 104)),
    "dim": ("512x640_ad9d305cbf19", (60, 60)),
    "dense": ("520x696_d52958107d0b", (130, 200)),
}
STACK = [
    "520x696_bde3727f3a9e",
    "520x696_49edc2f77151",
    "520x696_876423522bde",
    "520x696_b76ff33ae9da",
    "520x696_76faaed50ed6",
    "520x696_aaa52100fafa",
]
CROP, STACK_CROP = 256, 192


def crop(stem: str, origin: tuple[int, int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Image and objects of one square; objects are numbered from 1 again."""
    window = tuple(slice(start, start + size) for start in origin)
    image = tifffile.imread(DATA / f"fluo2d_dsb2018/images/{stem}.tif")[window]
    objects = tifffile.imread(DATA / f"fluo2d_dsb2018/labels/{stem}.tif")[window]
    assert image.shape == objects.shape == (size, size), f"{stem} at {origin} leaves the image"
    return image.astype(np.uint8), relabel_sequential(objects)[0].astype(np.uint16)


def save(path: Path, crops: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint16]]]) -> None:
    """Write names, images and objects; the order of the names is the order of the samples."""
    images, objects = (np.stack(arrays) for arrays in zip(*crops.values(), strict=True))
    np.savez_compressed(path, names=np.array(list(crops)), images=images, objects=objects)


def main() -> None:
    """Write the three files."""
    split = json.loads((DATA / "splits.json").read_text())["nuclei"]
    assert {f"{stem}.tif" for stem, _ in TRAIN.values()} <= set(split["train_all"])
    assert {f"{stem}.tif" for stem, _ in TEST.values()} <= set(split["test"])
    assert {f"{stem}.tif" for stem in STACK} <= set(split["train_all"])
    save(OUT / "nuclei_train.npz", {name: crop(*place, CROP) for name, place in TRAIN.items()})
    save(OUT / "nuclei_test.npz", {name: crop(*place, CROP) for name, place in TEST.items()})
    save(OUT / "nuclei_stack.npz", {stem: crop(stem, (280, 400), STACK_CROP) for stem in STACK})


if __name__ == "__main__":
    main()
