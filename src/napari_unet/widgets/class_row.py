"""One class in the list: its key, colour, name and background mark."""

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QCheckBox, QColorDialog, QLineEdit, QWidget

from napari_unet.session.classes import ClassStyle
from napari_unet.widgets.button import Button
from napari_unet.widgets.layouts import column, row

CHOOSE = "Paint with this class. Its digit is also its key while the annotation layer is selected."
COLOUR = "Change the colour."
NAME = "What the class is called; press Enter when you have changed it."
BACKGROUND = "The background: 0 in the result, where nothing is drawn."
HEIGHT = 24


class ClassRow(QWidget):
    """Shows a class, and tells what the user would change of it."""

    chosen = Signal()
    edited = Signal(dict)

    def __init__(self, position: int) -> None:
        super().__init__()
        digit = str(position) if position <= 9 else ""
        self.choose = Button(digit, f"class_{position}", CHOOSE, self._on_chosen, checkable=True)
        self.colour = Button("", f"colour_{position}", COLOUR, self._on_colour)
        self.name = QLineEdit()
        self.background = QCheckBox()
        self.name.setToolTip(NAME)
        self.background.setToolTip(BACKGROUND)
        self.background.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        for button in (self.choose, self.colour):
            button.setFixedSize(HEIGHT, HEIGHT)
        self.name.returnPressed.connect(self.name.clearFocus)
        self.name.editingFinished.connect(self._on_name)
        self.background.clicked.connect(self._on_background)
        column(self, row(self.choose, self.colour, self.name, self.background, stretch=(0, 0, 1, 0)))

    def show_style(self, style: ClassStyle) -> None:
        """Show a class; a name that is just being typed is left alone."""
        self._style = style
        self.colour.setStyleSheet(f"background-color: {style.colour}; border: 1px solid palette(mid);")
        if not self.name.isModified():
            self.name.setText(style.name)
        self.background.setChecked(style.is_background)

    def show_chosen(self, chosen: bool) -> None:
        """Tell whether the brush paints with this class."""
        self.choose.setChecked(chosen)

    def _on_chosen(self) -> None:
        self.chosen.emit()

    def _on_name(self) -> None:
        name = self.name.text().strip()
        self.name.setModified(False)
        self.name.setText(self._style.name)  # until the change is agreed to
        if name and name != self._style.name:
            self.edited.emit({"name": name})

    def _on_colour(self) -> None:
        colour = QColorDialog.getColor(QColor(self._style.colour), self, f"Colour of {self._style.name}")
        if colour.isValid():
            self.edited.emit({"colour": colour.name()})

    def _on_background(self) -> None:
        self.edited.emit({"is_background": self.background.isChecked()})
