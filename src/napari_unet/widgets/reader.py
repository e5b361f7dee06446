"""Model files that are dropped onto the viewer: they go to the dock and make no layer."""

from collections.abc import Callable, Sequence
from pathlib import Path

from napari import current_viewer
from napari.utils.notifications import show_error
from safetensors import SafetensorError, safe_open

from napari_unet.widgets.asking import agrees
from napari_unet.widgets.commands import open_dock
from napari_unet.widgets.model_part import REPLACE

FORMAT = "napari-unet-model"  # as in core.modelfile, which would import torch

Paths = str | Sequence[str]
NO_LAYER: list[tuple[None]] = [(None,)]
"""What tells napari that a file was read and that there is no layer to add."""


def get_reader(path: Paths) -> Callable[[Paths], list[tuple[None]]]:
    """Return what reads the file: the manifest's pattern has chosen it already."""
    return read_model


def read_model(path: Paths) -> list[tuple[None]]:
    """Load a model into the dock of the viewer in front; refuse what is none with one sentence."""
    viewer = current_viewer()
    if viewer is None:
        raise ValueError(f"{path} is a model, not an image: load_model opens it without a napari window")
    if why_not := refusal(path):
        show_error(why_not)  # an error raised here would become napari's, about readers
        return NO_LAYER
    dock = open_dock(viewer)
    if not dock.session.state.has_model or agrees(dock, "Load a model", REPLACE):
        dock.session.load_model(Path(str(path)))
    return NO_LAYER


def refusal(path: Paths) -> str:
    """Say why a file cannot be loaded as a model, judging by its header; "" if it can."""
    if not isinstance(path, str):
        return f"{len(path)} files were opened as one: open one model at a time"
    name = Path(path).name
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        return f"{name} cannot be read ({error}): copy it again"
    if FORMAT not in metadata:
        return f"{name} is not a model of napari-unet: choose one that the dock or `napari-unet train` saved"
    return ""
