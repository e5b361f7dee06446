from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_unet.session.session import Session


@pytest.fixture
def session():
    """What the parts talk to; tests look at what it was asked."""
    fake = MagicMock(spec=Session)
    fake.viewer = SimpleNamespace(layers=[])
    return fake


@pytest.fixture
def press(qtbot):
    """Click the button of that name with the mouse."""

    def click(part, name):
        part.show()
        qtbot.mouseClick(part.findChild(QPushButton, name), Qt.MouseButton.LeftButton)

    return click


@pytest.fixture
def can_press():
    """Tell whether the button of that name can be pressed."""

    def is_enabled(part, name):
        return part.findChild(QPushButton, name).isEnabled()

    return is_enabled


@pytest.fixture
def make(qtbot, session):
    """Make a part that is thrown away after the test."""

    def make_part(part_class):
        part = part_class(session)
        qtbot.addWidget(part)
        return part

    return make_part
