"""Keys of the annotation layer: those that napari leaves free, and digits for classes and labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.layers import Labels, Layer
from qtpy.QtCore import QMargins
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_unet.session.classes import class_of_key
from napari_unet.session.desk import OURS
from napari_unet.session.state import Tool
from napari_unet.widgets.layouts import GAP, Folded

if TYPE_CHECKING:
    from napari_unet.session.session import Session


@dataclass(frozen=True)
class Shortcut:
    """A key, what it does, and how."""

    key: str
    words: str
    press: "Callable[[Session], object]"


def train_or_pause(session: "Session") -> None:
    """Do what the buttons Train, Pause and Resume do, whichever can be pressed."""
    state = session.state
    if state.phase == "paused":
        session.resume()
    elif state.phase == "training":
        session.pause()
    elif state.phase in ("idle", "settled") and not state.can_train:
        session.train()


def toggle_weight_map(session: "Session") -> None:
    """Show the weight map or hide it, where there is one."""
    if session.state.task == "objects":
        session.show_weight_map(not session.state.weight_map)


def use_tool(session: "Session", tool: Tool) -> None:
    """Take up a tool for objects, where there are any."""
    if session.state.task == "objects":
        session.use_tool(tool)


SHORTCUTS = (
    Shortcut("K", "this slice is complete, or not", lambda session: session.toggle_complete()),
    Shortcut("G", "take prediction as annotation", lambda session: session.take_prediction()),
    Shortcut("U", "train, pause, resume", train_or_pause),
    Shortcut("H", "hide or show the prediction", lambda session: session.toggle_prediction()),
    Shortcut("Q", "click: accept an object; Shift: reject", lambda session: use_tool(session, "accept")),
    Shortcut("N", "draw a line: split an object", lambda session: use_tool(session, "split")),
    Shortcut("J", "draw a line: merge objects", lambda session: use_tool(session, "merge")),
    Shortcut("W", "show or hide the weight map", toggle_weight_map),
)
OBJECT_SHORTCUTS = (
    # as napari's own key, but never below 2: label 1 is the background
    Shortcut("M", "the next object, brush ready", lambda session: session.next_object()),
    Shortcut("0", "background, brush ready", lambda session: session.paint_background()),
)
"""Only among objects."""
DIGITS = range(1, 10)
NOTE = """They work on the annotation layer while
the mouse is over the image. There 1 to 7
do not change napari's mode; its letters do."""
NAPARI = (
    ("P  E  F  L  Z", "brush, eraser, fill, pick, move"),
    ("[  ]", "smaller, larger brush"),
    ("Ctrl+Z", "undo the last stroke or click"),
)
"""Keys of napari's own that help while painting."""


def bind_shortcuts(layer: Labels, session: "Session") -> None:
    """Bind the keys to this one layer."""
    has_objects = session.state.task == "objects"
    for shortcut in (*SHORTCUTS, *(OBJECT_SHORTCUTS if has_objects else ())):
        layer.bind_key(shortcut.key, _pressed(shortcut.press, session), overwrite=True)
    for digit in DIGITS:
        layer.bind_key(str(digit), _pressed(_choose(digit), session), overwrite=True)


def unbind_shortcuts(layers: Iterable[Layer]) -> None:
    """Give the keys of annotation layers back to napari."""
    for layer in layers:
        if layer.metadata.get(OURS) == "annotation":
            for key in (*(each.key for each in (*SHORTCUTS, *OBJECT_SHORTCUTS)), *map(str, DIGITS)):
                layer.bind_key(key, None)


def _pressed(press: "Callable[[Session], object]", session: "Session") -> Callable[[Labels], None]:
    def on_key(_: Labels) -> None:
        press(session)

    return on_key


def _choose(digit: int) -> "Callable[[Session], None]":
    def choose(session: "Session") -> None:
        if session.state.task == "objects":
            session.paint_label(digit)
            return
        style = class_of_key(session.state.classes, digit)
        if style is not None:
            session.select_class(style.value)

    return choose


class ShortcutsList(Folded):
    """The keys, folded away."""

    def __init__(self) -> None:
        super().__init__("Keys", "shortcuts", _table())


def _table() -> QWidget:
    table = QWidget()
    layout = QFormLayout(table)
    layout.setContentsMargins(QMargins())
    layout.setSpacing(GAP // 2)
    ours = (
        ("1 … 9", "the class, or the label of an object"),
        *((each.key, each.words) for each in (*OBJECT_SHORTCUTS, *SHORTCUTS)),
    )
    for key, words in (*ours, *NAPARI):
        layout.addRow(f"<b>{key}</b>", QLabel(words))
    layout.addRow(QLabel(NOTE))
    return table
