"""How the parts of the dock lie: compact columns and rows, a heading, and what folds away."""

from qtpy.QtCore import QMargins, Qt
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLayout, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

GAP = 4


def column(parent: QWidget, *items: QWidget | QLayout, gap: int = GAP) -> QVBoxLayout:
    """Lay items below each other."""
    layout = QVBoxLayout(parent)
    layout.setContentsMargins(QMargins())
    layout.setSpacing(gap)
    for item in items:
        layout.addWidget(item) if isinstance(item, QWidget) else layout.addLayout(item)
    return layout


def row(*items: QWidget, stretch: tuple[int, ...] = ()) -> QHBoxLayout:
    """Lay widgets beside each other; `stretch` says how they share the width that is left."""
    layout = QHBoxLayout()
    layout.setContentsMargins(QMargins())
    layout.setSpacing(GAP)
    for i, item in enumerate(items):
        layout.addWidget(item, stretch[i] if i < len(stretch) else 0)
    return layout


def heading(text: str) -> QLabel:
    """Name a part of the dock."""
    label = QLabel(text)
    label.setStyleSheet("font-weight: bold; padding-top: 4px;")
    return label


def sentence(name: str = "") -> QLabel:
    """Leave room for a sentence, which wraps and can be copied."""
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


class Folded(QCollapsible):
    """Something that is folded away under its title; the button of the title bears the name."""

    def __init__(self, title: str, name: str, content: QWidget) -> None:
        # the arrow is text, so that it follows the theme: superqt would paint it in the colours of before
        super().__init__(title, expandedIcon=_no_icon(), collapsedIcon=_no_icon())
        self._title = title
        self.toggleButton().setObjectName(name)
        self.toggleButton().setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setDuration(120)
        for layout in (self.layout(), self.content().layout()):
            assert layout is not None
            layout.setContentsMargins(QMargins(0, GAP // 2, 0, 0))
            layout.setSpacing(0)
        self.addWidget(content)
        self.toggled.connect(self._show_arrow)
        self._show_arrow(False)

    def _show_arrow(self, expanded: bool) -> None:
        self.setText(f"{'▾' if expanded else '▸'}  {self._title}")


def _no_icon() -> QIcon:
    """Make an icon that cannot be seen; superqt takes none for an answer only if it is one."""
    pixmap = QPixmap(1, 1)
    pixmap.fill(Qt.GlobalColor.transparent)
    return QIcon(pixmap)
