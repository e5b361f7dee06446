"""A napari that is closed while it trains: python close_while_training.py cross | quit | script."""

import sys

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QPushButton

from napari_unet.session.settings import Settings

CLOSE = {
    "cross": lambda viewer: viewer.window._qt_window.close(),
    "quit": lambda viewer: viewer.window._qt_window.close(quit_app=True),
    "script": lambda viewer: viewer.close(),
}


def main(how: str) -> None:
    viewer = napari.Viewer()
    viewer.add_image(np.random.default_rng(0).random((3, 64, 64)).astype(np.float32), name="noise")
    _, dock = viewer.window.add_plugin_dock_widget("napari-unet")
    session = dock.session
    session.set_settings(Settings(width=2, depth=1, device="cpu"))
    dock.findChild(QPushButton, "annotate").click()
    layer = session.desk.current.layer
    layer.paint((0, 10, 20), 1)
    layer.paint((0, 40, 20), 2)
    session.follow_painting()
    print(session.desk.current.key)
    session.train()
    steps = []

    def on_update(update):
        steps.append(update.step)
        if len(steps) == 3:
            layer.paint((1, 40, 20), 2)  # nobody has looked at this stroke when the window goes
            QTimer.singleShot(0, lambda: CLOSE[how](viewer))

    session.updated.connect(on_update)
    napari.run()
    print("ended")


if __name__ == "__main__":
    main(sys.argv[1])
