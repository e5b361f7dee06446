"""The model: what it is, saving and loading it, and saving the annotation that it learns from."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.session.state import SessionState
from napari_unet.widgets.asking import ANNOTATION_FILES, MODEL_FILES, agrees, path_to_open, path_to_save
from napari_unet.widgets.button import Button
from napari_unet.widgets.layouts import column, heading, row, sentence

if TYPE_CHECKING:
    from napari_unet.session.session import Session

SAVE = "Write the model to a file that holds everything to use it again, here or from the command line."
LOAD = "Read a model from a file, to segment with it at once or to train it further on this image."
ANNOTATION = "Write what you have painted, with its classes and complete slices, to a TIFF file."
REPLACE = "The present model is replaced by the one in the file. Save it first if you need it. Load another?"


class ModelPart(QWidget):
    """A line about the model, and three buttons for files."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._session = session
        self._has_model = False
        self._name = "image"
        self._words = sentence("model_words")
        self._save = Button("Save …", "save_model", SAVE, self._on_save)
        self._load = Button("Load …", "load_model", LOAD, self._on_load)
        self._annotation = Button("Save annotation …", "save_annotation", ANNOTATION, self._on_annotation)
        buttons = row(self._save, self._load, self._annotation, stretch=(1, 1, 2))
        column(self, heading("Model"), self._words, buttons)

    def show_state(self, state: SessionState) -> None:
        """Follow the session."""
        self._has_model = state.has_model
        self._name = state.choice.name if state.choice else "image"
        self._words.setText(state.model or "no model yet")
        self._save.allow("" if state.has_model else "train a model first")
        self._load.allow("" if state.phase in ("idle", "settled") else "stop the training first")
        painted = any(image.planes and image.name == self._name for image in state.images)
        self._annotation.allow("" if painted else "nothing is painted on this image yet")

    def _on_save(self) -> None:
        path = path_to_save(self, "Save the model", f"{self._name}.safetensors", MODEL_FILES)
        if path is not None:
            self._session.save_model(path)

    def _on_load(self) -> None:
        if self._has_model and not agrees(self, "Load a model", REPLACE):
            return
        path = path_to_open(self, "Load a model", MODEL_FILES)
        if path is not None:
            self._session.load_model(path)

    def _on_annotation(self) -> None:
        path = path_to_save(self, "Save the annotation", f"{self._name} annotation.tif", ANNOTATION_FILES)
        if path is not None:
            self._session.save_annotation(path)
