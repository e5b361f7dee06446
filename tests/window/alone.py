"""A napari in a process of its own, which comes to the end that its first argument names.

    NAPARI_EXIT_ON_ERROR=1 python alone.py closed-training|closed-segmenting|killed|command-line

Its exit status is 0 if it ended well. "killed" paints, trains and waits for whoever started it to end it; it
says "kept" once it has something to restore.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from napari.__main__ import main as napari_command
from napari.qt import get_qapp
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget
from user import strokes_in

from napari_unet.samples import nuclei_stack
from napari_unet.session.session import Session
from napari_unet.widgets.commands import open_dock

PLANE = 2


def once(condition: Callable[[], object], then: Callable[[], object]) -> None:
    """Do something as soon as a condition holds."""
    timer = QTimer()

    def look() -> None:
        if condition():
            timer.stop()
            then()

    timer.timeout.connect(look)
    timer.start(50)


def training_viewer(n_copies: int = 1) -> tuple[napari.Viewer, Session]:
    """Open the sample, paint strokes of both classes on one slice, and start to train."""
    viewer = napari.Viewer()
    sample = nuclei_stack()
    viewer.add_image(np.tile(sample.image, (n_copies, 1, 1)), name=sample.name)
    session = open_dock(viewer).session
    viewer.dims.set_current_step(0, PLANE)
    session.annotate()
    layer = session.desk.current.layer
    truth = sample.objects[PLANE] > 0
    for value, mask in ((1, ~truth), (2, truth)):
        layer.selected_label = value
        for start, end in strokes_in(mask, 3):
            for x in range(start[1], end[1]):
                layer.paint((PLANE, start[0], x), value)
    session.train()
    return viewer, session


def closed_training() -> None:
    """Close the window while it trains."""
    viewer, session = training_viewer()
    once(lambda: session.teaching.trainer and session.teaching.trainer.steps > 3, viewer.close)
    napari.run()


def closed_segmenting() -> None:
    """Close the window while the stack is segmented."""
    viewer, session = training_viewer(n_copies=100)
    once(lambda: session.teaching.trainer and session.teaching.trainer.steps > 3, session.segment_stack)
    result = f"{nuclei_stack().name} segmentation"
    once(lambda: result in viewer.layers and np.any(viewer.layers[result].data[0]), viewer.close)
    napari.run()


def killed() -> None:
    """Say when strokes and model are kept, and go on until killed."""
    training_viewer()
    home = Path(os.environ["NAPARI_UNET_HOME"])
    files = ("annotation-classes.npz", "model-classes.safetensors")
    once(lambda: all(list(home.rglob(name)) for name in files), lambda: print("kept", flush=True))
    napari.run()


def command_line() -> None:
    """Open the dock as `napari -w napari-unet` does; close the window once a person could press a button."""

    def button() -> QWidget | None:
        viewer = napari.current_viewer()
        return viewer and viewer.window._qt_window.findChild(QWidget, "annotate")

    sys.argv = ["napari", "-w", "napari-unet"]
    get_qapp()  # no timer runs before there is an application
    once(lambda: button() and button().isVisible(), lambda: napari.current_viewer().close())
    napari_command()


ENDS = {
    function.__name__.replace("_", "-"): function
    for function in (closed_training, closed_segmenting, killed, command_line)
}

if __name__ == "__main__":
    ENDS[sys.argv[1]]()
