"""Loss and validation Dice, drawn while the network learns."""

from math import isfinite

import pyqtgraph as pg
from qtpy.QtCore import QEvent
from qtpy.QtGui import QColor, QPalette, QWheelEvent

DARK, LIGHT = ("#e69f00", "#56b4e9"), ("#a65f00", "#0072b2")
"""Colours of loss and Dice on a dark and on a light ground, which everybody tells apart."""
HEIGHT = 112
MOST_POINTS = 2000
"""More are not seen, and take their time at every update."""
TOOLTIP = (
    "Loss: how wrong the network is on what you painted; it should fall. "
    "Dice: how well it agrees with the part of your annotation that it is not shown; 1 is perfect."
)


class Course:
    """Numbers over the steps; where there are many, a point is the mean of so many of them."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self._fineness = self._n_in_last = 1

    def add(self, step: int, value: float) -> None:
        """Go on; twice as coarse where there is no room for another point."""
        if self.points and self._n_in_last < self._fineness:
            self._n_in_last += 1
            mean = self.points[-1][1]
            self.points[-1] = step, mean + (value - mean) / self._n_in_last
            return
        if len(self.points) >= MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(later, (one + other) / 2) for (_, one), (later, other) in pairs]
            self._fineness *= 2
        self.points.append((step, value))
        self._n_in_last = 1


class Curves(pg.PlotWidget):  # type: ignore[misc]
    """Two thin curves over the steps: the loss at the left axis, Dice from 0 to 1 at the right one."""

    def __init__(self) -> None:
        super().__init__(background=None)
        self.setObjectName("curves")
        self.setToolTip(TOOLTIP)
        self.setFixedHeight(HEIGHT)
        self._losses, self._dices = Course(), Course()
        self._step = 0
        plot = self.getPlotItem()
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setMouseEnabled(x=False, y=False)
        plot.setContentsMargins(0, 4, 0, 0)
        self._loss = plot.plot()
        self._right = pg.ViewBox(enableMouse=False, enableMenu=False)
        self._dice = pg.PlotDataItem(symbol="o", symbolSize=4, symbolPen=None)
        self._add_right_axis(plot)
        self._show_theme()
        self.hide()

    def _add_right_axis(self, plot: pg.PlotItem) -> None:
        plot.showAxis("right")
        plot.scene().addItem(self._right)
        plot.getAxis("right").linkToView(self._right)
        self._right.setXLink(plot.vb)
        self._right.setYRange(0, 1, padding=0.02)
        self._right.addItem(self._dice)
        plot.vb.setLimits(xMin=0, yMin=0)
        plot.vb.sigResized.connect(self._fit)

    def add(self, step: int, loss: float, dice: float | None) -> None:
        """Go on with the curves; a loss that is not a number is left out. Fewer steps: another model."""
        if step < self._step:
            self.start_over()
        self._step = step
        if isfinite(loss):
            self.show()
            self._losses.add(step, loss)
            self._loss.setData(*zip(*self._losses.points, strict=True))
        if dice is not None:
            self._dices.add(step, dice)
            self._dice.setData(*zip(*self._dices.points, strict=True))

    def explain(self, scored_on: str) -> None:
        """Say in the tooltip what the score is measured on."""
        self.setToolTip(f"{TOOLTIP} {scored_on}".strip())

    def start_over(self) -> None:
        """Begin anew, as a new model does."""
        self._losses, self._dices, self._step = Course(), Course(), 0
        self._loss.setData([], [])
        self._dice.setData([], [])
        self.hide()

    def values(self) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """Return what is drawn: (step, loss) and (step, Dice)."""
        return self._losses.points, self._dices.points

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the dock, which scrolls."""
        event.ignore()

    def changeEvent(self, event: QEvent) -> None:
        """Follow napari's theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._show_theme()

    def _fit(self) -> None:
        self._right.setGeometry(self.getPlotItem().vb.sceneBoundingRect())

    def _show_theme(self) -> None:
        if not hasattr(self, "_dice"):  # Qt tells of changes while the widget is being made
            return
        text = self.palette().color(QPalette.ColorRole.WindowText)
        loss, dice = DARK if text.lightnessF() > 0.5 else LIGHT
        self._loss.setPen(pg.mkPen(loss, width=1.5))
        self._dice.setPen(pg.mkPen(dice, width=1.5))
        self._dice.setSymbolBrush(dice)
        for side, label, colour in (("left", "loss", loss), ("bottom", "", text), ("right", "Dice", dice)):
            self._show_axis(self.getPlotItem().getAxis(side), label, QColor(colour))

    def _show_axis(self, axis: pg.AxisItem, label: str, colour: QColor) -> None:
        faint = QColor(colour)
        faint.setAlpha(90)
        axis.setPen(faint)
        axis.setTextPen(colour)
        axis.setStyle(tickLength=-4)
        if label:
            axis.setLabel(label, color=colour.name())
