"""Photograph the dock for README and docs: `make docs-pictures` uses it as a new user would.

The window is driven by the mouse and keys of the window tests, on the samples that the package ships.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import napari
from driver import missing
from PIL import Image
from user import User

OUT = Path(__file__).parent.parent / "docs/images"
SIZE = (1400, 900)
N_COLOURS = 128
CROWDED = 1
"""The slice whose nuclei lie closest together."""


def main() -> None:
    """Walk through classes, then objects, and photograph what there is to see."""
    if reason := missing():
        sys.exit(reason)
    for walk in (classes, objects):
        with TemporaryDirectory() as folder:
            os.environ["NAPARI_UNET_HOME"] = folder
            user = User(napari.Viewer(), Path(folder), SIZE)
            user.open_sample()
            user.open_dock()
            walk(user)
            user.close()


def classes(user: User) -> None:
    """Paint, train, segment."""
    user.annotate()
    user.paint_nuclei(5)
    shoot(user, "dock-paint")
    user.train()
    user.wait("a good mask", lambda: user.dice(user.predicted) > 0.7 and user.steps > 50, patience=200)
    shoot(user, "dock")
    user.stop()
    user.click("segment_stack")
    user.wait("the stack is segmented", lambda: user.result and not user.session.state.segmenting)
    user.go_to(4)
    shoot(user, "dock-segmented")


def objects(user: User) -> None:
    """Paint cells with labels of their own, and look at the boundary weights."""
    user.go_to(CROWDED)
    user.click("task_objects")
    user.annotate()
    user.paint_objects()
    user.click("complete")
    user.click("weight_map")
    user.wait("the weight map", lambda: user.weights)
    shoot(user, "dock-weights")


def shoot(user: User, name: str) -> None:
    """Photograph the window; few colours keep the file small."""
    with Image.open(user.photograph(name)) as photo:
        window = photo.convert("RGB").crop((0, 0, *SIZE))
    window.quantize(N_COLOURS, dither=Image.Dither.NONE).save(OUT / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
