"""A number that may be left to the program: "auto" stands below the lowest value."""

from math import isclose

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QDoubleSpinBox

from napari_unet.widgets.wheel import leave_wheel


class AutoSpin(QDoubleSpinBox):
    """A spin box of which None is a value.

    Parameters
    ----------
    low, high : float
        Range of the numbers.
    first : float
        Where the arrow leads from "auto".
    step : float
        What an arrow adds; 0 for a step that grows with the number.
    decimals : int
    optional : bool
        Whether "auto" can be chosen.
    """

    chosen = Signal()

    def __init__(
        self, low: float, high: float, first: float, *, step: float, decimals: int = 0, optional: bool = True
    ) -> None:
        super().__init__()
        self._low, self._first, self._optional = low, first, optional
        below = step or 10.0**-decimals
        self.setDecimals(decimals)
        self.setRange(low - below if optional else low, high)
        self.setSingleStep(below)
        if not step:
            self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        if optional:
            self.setSpecialValueText("auto")
        self.setKeyboardTracking(False)
        leave_wheel(self)
        self.set_number(None if optional else first)
        self.valueChanged.connect(self._on_changed)

    def number(self) -> float | None:
        """Return the number, None for "auto"."""
        if self._optional and isclose(self.value(), self.minimum(), abs_tol=1e-9):
            return None
        return max(self._low, self.value())

    def set_number(self, number: float | None) -> None:
        """Show a number, without telling anybody."""
        with QSignalBlocker(self):
            self.setValue(self.minimum() if number is None else number)

    def stepBy(self, steps: int) -> None:
        """Go from "auto" to a usual value instead of the lowest one."""
        if self.number() is None and steps > 0:
            self.setValue(self._first)
        else:
            super().stepBy(steps)

    def _on_changed(self) -> None:
        self.chosen.emit()
