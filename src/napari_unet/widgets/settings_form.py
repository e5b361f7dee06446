"""Advanced options with good defaults, explained to those who never heard of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QMargins, QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QWidget

from napari_unet.session.settings import DEVICES, LOSSES, RANGES, STRENGTHS, Settings
from napari_unet.session.state import SessionState
from napari_unet.widgets.auto_spin import AutoSpin
from napari_unet.widgets.layouts import GAP, sentence
from napari_unet.widgets.wheel import leave_wheel

if TYPE_CHECKING:
    from napari_unet.session.session import Session

NEW = " Takes effect with the next new model."
TRAIN = " Takes effect with the next press of Train."
WORDS = {
    "ndim": (
        "network",
        "2D looks at each slice by itself. 3D looks at a block of slices at once: slower, "
        "but it knows what lies above and below." + NEW,
    ),
    "width": (
        "width",
        "Feature maps at the top of the U-Net. More can tell finer differences and takes "
        "longer: 16 is quick, 32 to 64 are for a GPU." + NEW,
    ),
    "depth": (
        "depth",
        "How often the U-Net halves the image. Each level doubles how far it looks around a "
        "pixel: take more for large objects." + NEW,
    ),
    "loss": (
        "loss",
        "What training makes small. Cross-entropy counts pixels, Dice counts overlap and suits "
        "rare classes; both together suit nearly everything." + TRAIN,
    ),
    "augmentation": (
        "variation",
        "How much the painted places are varied before they are learnt. Strong helps "
        "where images differ; mild suits one stack with much annotation. Auto decides by both." + TRAIN,
    ),
    "rotation": ("rotation (°)", "Turn patches by up to so many degrees." + TRAIN),
    "scale": ("size", "Enlarge or shrink patches by up to this much; 0.35 is up to 1.4 times." + TRAIN),
    "elastic": ("bending (px)", "Bend patches like rubber by about so many pixels." + TRAIN),
    "intensity": ("brightness", "Vary brightness, contrast and gamma by about this share." + TRAIN),
    "w0": (
        "w₀ (gap weight)",
        "How much more the gaps between objects count than other pixels. Raise it if "
        "neighbours merge. For the task Objects.",
    ),
    "sigma": (
        "σ (gap width, px)",
        "How wide a gap may be to count as a gap, in pixels. For the task Objects.",
    ),
    "device": ("device", "What computes. Auto takes a GPU where there is one." + TRAIN),
    "patch_size": (
        "patch (px)",
        "Side of the pieces that the network learns from at once. "
        "Take larger ones for large objects." + TRAIN,
    ),
    "learning_rate": (
        "learning rate",
        "How big the steps of learning are. Take smaller ones if the loss jumps up and down." + TRAIN,
    ),
}
"""For each setting its label and its tooltip, in the order of the form."""
CHOICES: dict[str, dict[Any, str]] = {
    "ndim": {2: "2D, slice by slice", 3: "3D, whole volume"},
    "loss": dict(
        zip(
            LOSSES,
            ("cross-entropy", "balanced cross-entropy", "Dice", "cross-entropy + Dice", "focal"),
            strict=True,
        )
    ),
    "augmentation": {each: each for each in STRENGTHS},
    "device": dict(zip(DEVICES, ("auto", "CPU", "NVIDIA GPU (CUDA)", "Apple GPU (MPS)"), strict=True)),
}
WHOLE = ("width", "depth", "patch_size")


class SettingsForm(QWidget):
    """A row for each setting; "auto" is None."""

    valueChanged = Signal(object)

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self._fields: dict[str, QComboBox | AutoSpin] = {name: _field(name) for name in WORDS}
        self._device = sentence("device_words")
        layout = QFormLayout(self)
        layout.setContentsMargins(QMargins())
        layout.setVerticalSpacing(GAP)
        for name, field in self._fields.items():
            layout.addRow(_label(name), field)
            if name == "device":
                layout.addRow("", self._device)
            field.setToolTip(WORDS[name][1])
            signal = field.chosen if isinstance(field, AutoSpin) else field.activated
            signal.connect(self._on_changed)
        self.setValue(Settings())
        self.valueChanged.connect(session.set_settings)

    def value(self) -> Settings:
        """Return the settings that are shown."""
        values: Mapping[str, Any] = {name: _value(name, field) for name, field in self._fields.items()}
        return Settings(**values)

    def setValue(self, settings: Settings) -> None:
        """Show settings, without telling anybody."""
        for name, field in self._fields.items():
            value = getattr(settings, name)
            if isinstance(field, AutoSpin):
                field.set_number(value)
            else:
                with QSignalBlocker(field):
                    field.setCurrentIndex(list(CHOICES[name]).index(value))
        self._shown = settings

    def show_state(self, state: SessionState) -> None:
        """Follow the session; what the user is typing is left alone."""
        self._device.setText(state.device)
        self._device.setVisible(bool(state.device))
        if state.settings != self._shown:
            self.setValue(state.settings)

    def _on_changed(self) -> None:
        self._shown = self.value()
        self.valueChanged.emit(self._shown)


def _label(name: str) -> QLabel:
    label = QLabel(WORDS[name][0])
    label.setToolTip(WORDS[name][1])
    return label


def _field(name: str) -> QComboBox | AutoSpin:
    if name in CHOICES:
        combo = QComboBox()
        for value, words in CHOICES[name].items():
            combo.addItem(words, value)
        combo.setMinimumContentsLength(8)
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        leave_wheel(combo)
        field: QComboBox | AutoSpin = combo
    else:
        field = _spin(name)
    field.setObjectName(name)
    return field


def _spin(name: str) -> AutoSpin:
    low, high = RANGES.get(name, (0, 0))
    return {
        "width": lambda: AutoSpin(low, high, 16, step=1),
        "depth": lambda: AutoSpin(low, high, 4, step=1),
        "rotation": lambda: AutoSpin(low, high, 180, step=15, decimals=1),
        "scale": lambda: AutoSpin(low, high, 0.35, step=0.05, decimals=3),
        "elastic": lambda: AutoSpin(low, high, 2, step=0.5, decimals=2),
        "intensity": lambda: AutoSpin(low, high, 0.1, step=0.05, decimals=3),
        "w0": lambda: AutoSpin(0, 1000, 10, step=1, decimals=2, optional=False),
        "sigma": lambda: AutoSpin(0.1, 1000, 5, step=0.5, decimals=2, optional=False),
        "patch_size": lambda: AutoSpin(16, 2048, 128, step=16),
        "learning_rate": lambda: AutoSpin(1e-6, 1, 0.001, step=0, decimals=6),
    }[name]()


def _value(name: str, field: QComboBox | AutoSpin) -> Any:
    if isinstance(field, QComboBox):
        return field.currentData()
    number = field.number()
    return int(number) if name in WHOLE and number is not None else number
