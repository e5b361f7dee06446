"""Questions before something is discarded, and where files lie."""

import re
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

MODEL_FILES = "napari-unet model (*.safetensors)"
ANNOTATION_FILES = "TIFF (*.tif *.tiff)"
TABLE_FILES = "Table (*.csv *.tsv)"
RESULT_FILES = "OME-TIFF (*.ome.tif *.ome.tiff *.tif *.tiff);;OME-Zarr (*.ome.zarr *.zarr)"


def agrees(parent: QWidget, title: str, question: str) -> bool:
    """Ask a question that is answered by yes or no; no is where the Enter key leads."""
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    return bool(QMessageBox.question(parent, title, question, yes | no, no) == yes)


def path_to_save(parent: QWidget, title: str, name: str, files: str) -> Path | None:
    """Ask where to write, None if the user thinks better of it; whatever is there has been agreed to go.

    A name gets the suffix of the chosen kind unless it has that of one of the kinds.
    """
    chosen, kind = QFileDialog.getSaveFileName(parent, title, name, files)
    if not chosen:
        return None
    is_whole = chosen.lower().endswith(tuple(_suffixes(files)))
    path = Path(chosen if is_whole else chosen + (_suffixes(kind) or _suffixes(files))[0])
    # the dialog asks before a file of the typed name is replaced, and for no other one
    is_asked = is_whole and not path.is_dir()
    if path.exists() and not is_asked and not agrees(parent, title, f"{path.name} exists: replace it?"):
        return None
    return path


def _suffixes(files: str) -> list[str]:
    return re.findall(r"\*(\.[\w.]+)", files)


def path_to_open(parent: QWidget, title: str, files: str) -> Path | None:
    """Ask which file to read, None if the user thinks better of it."""
    chosen, _ = QFileDialog.getOpenFileName(parent, title, "", files)
    return Path(chosen) if chosen else None
