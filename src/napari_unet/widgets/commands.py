"""What napari's menus and its command palette call: each acts on the viewer in front."""

from napari import Viewer, current_viewer

from napari_unet.session.session import Session
from napari_unet.widgets.dock import Dock


def annotate() -> None:
    """Make an annotation layer for the image, ready to paint."""
    _session().annotate()


def segment_slice() -> None:
    """Segment the slice that is shown."""
    _session().segment_slice()


def segment_stack() -> None:
    """Segment the whole image in the background."""
    _session().segment_stack()


def measure() -> None:
    """Measure the objects of the selected layer, or of the uppermost result."""
    _session().measuring.measure()


def open_dock(viewer: Viewer) -> Dock:
    """Open the dock, or bring the one that is open to the front."""
    frame, dock = viewer.window.add_plugin_dock_widget("napari-unet")
    frame.show()
    frame.raise_()
    assert isinstance(dock, Dock)
    return dock


def _session() -> Session:
    viewer = current_viewer()
    if viewer is None:
        raise ValueError("there is no napari window: open one first")
    return open_dock(viewer).session
