"""Keep ever growing strokes until somebody kills this process; a number on stdout is safely kept."""

import sys
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from napari_unet import __version__
from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks import build_network
from napari_unet.core.networks.unet import UNetConfig
from napari_unet.core.targets import OBJECT_CLASSES
from napari_unet.session.autosave import Autosave
from napari_unet.session.classes import DEFAULT_CLASSES
from napari_unet.session.jobs import run_now

KEY = "killed"
SHAPE = (12, 96, 96)


@dataclass(frozen=True)
class Choice:
    name: str = "killed image"
    annotation_shape: tuple[int, ...] = SHAPE


@dataclass
class Growing:
    """An annotation of which every plane follows from one number."""

    number: int = 0
    choice: Choice = field(default_factory=Choice)
    key: str = KEY
    task: str = "classes"

    @property
    def planes(self):
        return tuple((z,) for z in range(1 + self.number % SHAPE[0]))

    @property
    def complete(self):
        return {(z,) for z in range(self.number % 3)}

    @property
    def cells(self):
        return {index: {(0, 0): self.plane(index)} for index in self.planes}

    def plane(self, index):
        rng = np.random.default_rng([self.number, *index])  # noise: files as long as they get
        plane = rng.integers(0, 256, SHAPE[1:], np.int32)
        plane[0, 0] = self.number % 200 + 1
        return plane


def tiny_model(number):
    network = build_network("unet", UNetConfig(width=4, depth=1, n_classes=len(OBJECT_CLASSES)))
    rest = ("YX", (1.0, 1.0), "pixel", ("",), "percentile", {"steps": number}, __version__)
    return Model(network, "unet", "objects", OBJECT_CLASSES, *rest)


def main():
    def give_up(failure):
        sys.exit(failure.details)

    growing, autosave = Growing(), Autosave(run_now, give_up)
    while True:
        growing.number += 1
        autosave.note(growing, DEFAULT_CLASSES)
        autosave.note_model("classes", partial(save_model, tiny_model(growing.number), overwrite=True))
        autosave.flush()
        print(growing.number, flush=True)


if __name__ == "__main__":
    main()
