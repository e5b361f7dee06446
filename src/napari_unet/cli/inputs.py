"""What INPUT stands for: images, where each is read, and what its result is called."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unet.core.io import Image


@dataclass(frozen=True)
class Input:
    """An image: a file, one of several positions in it, or files that are one stack.

    `label` names a position among several that are segmented; it becomes part of the result's name.
    """

    paths: tuple[Path, ...]
    stack: bool = False
    position: int | str | None = None
    label: str = ""

    def __str__(self) -> str:
        return f"{self.paths[0]} ({self.label})" if self.label else str(self.paths[0])

    @property
    def stem(self) -> str:
        """Name of the result, without suffix."""
        from napari_unet.core.io import image_stem

        return "_".join(filter(None, (image_stem(self.paths[0]), self.label)))

    def open(self, opening: dict[str, Any]) -> "Image":
        """Open it as the options say."""
        from napari_unet.core.io import open_image, open_stack

        if self.stack:
            return open_stack(self.paths, **opening)
        return open_image(self.paths[0], position=self._number(), **opening)

    def store(self) -> Path:
        """Return the folder of an OME-Zarr image: the store, or its position in there."""
        from napari_unet.core.io import list_positions

        names = list_positions(self.paths[0])
        return self.paths[0] / names[self._number() or 0] if len(names) > 1 else self.paths[0]

    def _number(self) -> int | None:
        from napari_unet.core.io import list_positions
        from napari_unet.core.io.names import composed

        if not isinstance(self.position, str):
            return self.position
        names = [composed(name) for name in list_positions(self.paths[0])]
        if self.position.isdecimal() and int(self.position) < len(names):
            return int(self.position)
        if names.count(composed(self.position)) != 1:
            raise ValueError(
                f"{self.paths[0].name} has no position {self.position}: see `napari-unet info`, "
                f"or give a number from 0 to {len(names) - 1}"
            )
        return names.index(composed(self.position))


def find_inputs(source: str, *, stack: bool, position: str | None) -> tuple[list[Input], bool]:
    """Return the images that INPUT stands for, and whether they are many, so that OUT is a folder."""
    from napari_unet.core.io import find_images

    paths = find_images(source)
    if stack and position is not None:
        raise ValueError(f"--position is {position} but --stack makes one image of all files: leave one out")
    if stack:
        return [Input(tuple(paths), stack=True)], False
    inputs = [each for path in paths for each in _positions(path, position)]
    return inputs, len(inputs) > 1 or paths != [Path(source).expanduser()]


def name_results(inputs: Sequence[Input], folder: Path, suffix: str) -> list[Path]:
    """Return `<stem><suffix>` in the folder for each image."""
    from napari_unet.core.io.names import IMAGE_SUFFIXES

    if folder.suffix.lower() in IMAGE_SUFFIXES:
        one = "--position" if len({each.paths for each in inputs}) < len(inputs) else "--stack"
        raise ValueError(f"{folder} is the name of one image: many images need a folder as --out, or {one}")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: many images need a folder as --out")
    names: dict[str, Input] = {}
    for each in inputs:
        if (stem := each.stem) in names:
            raise ValueError(f"{names[stem]} and {each} would both become {stem}{suffix}: rename one")
        names[stem] = each
    return [folder / f"{stem}{suffix}" for stem in names]


def _positions(path: Path, position: str | None) -> list[Input]:
    """Return the chosen position of a file, or all of them."""
    from napari_unet.core.io import list_positions

    if position is not None:
        return [Input((path,), position=position)]
    try:
        names = list_positions(path)
    except (OSError, ValueError):  # what is wrong is said when the file's turn comes
        names = ("",)
    if len(names) == 1:
        return [Input((path,))]
    return [Input((path,), position=number, label=label) for number, label in enumerate(file_names(names))]


def file_names(names: Sequence[str]) -> list[str]:
    """Return names that files may have: A-1-0 of A/1/0; numbers, where such names would not differ."""
    from napari_unet.core.io.names import composed

    cleaned = [re.sub(r"[^\w.+-]+", "-", composed(name)).strip("-.") for name in names]
    differ = all(cleaned) and len({name.casefold() for name in cleaned}) == len(cleaned)
    return cleaned if differ else [str(number) for number in range(len(names))]
