"""Questions before something is discarded, and where files lie."""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

MODEL_FILES = "napari-unet model (*.safetensors)"
ANNOTATION_FILES = "TIFF (*.tif)"
RESULT_FILES = "OME-TIFF (*.ome.tif);;OME-Zarr (*.ome.zarr)"


def agrees(parent: QWidget, title: str, question: str) -> bool:
    """Ask a question that is answered by yes or no; no is where the Enter key leads."""
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    return bool(QMessageBox.question(parent, title, question, yes | no, no) == yes)


def path_to_save(parent: QWidget, title: str, name: str, files: str) -> Path | None:
    """Ask where to write, None if the user thinks better of it; the suffix of the chosen kind is added."""
    chosen, kind = QFileDialog.getSaveFileName(parent, title, name, files)
    if not chosen:
        return None
    suffix = kind.partition("(*")[2].rstrip(")")
    return Path(chosen if "." in Path(chosen).name else chosen + suffix)


def path_to_open(parent: QWidget, title: str, files: str) -> Path | None:
    """Ask which file to read, None if the user thinks better of it."""
    chosen, _ = QFileDialog.getOpenFileName(parent, title, "", files)
    return Path(chosen) if chosen else None
