import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QComboBox, QWidget

from napari_unet.session.settings import DEVICES, LOSSES, STRENGTHS, Settings
from napari_unet.session.state import SessionState
from napari_unet.widgets.auto_spin import AutoSpin
from napari_unet.widgets.settings_form import WORDS, SettingsForm


@pytest.fixture
def form(make):
    return make(SettingsForm)


def decimals(low, high, places):
    factor = 10**places
    return st.integers(round(low * factor), round(high * factor)).map(lambda n: n / factor)


def maybe(numbers):
    return st.none() | numbers


ANY_SETTINGS = st.builds(
    Settings,
    ndim=st.sampled_from([2, 3]),
    width=maybe(st.integers(1, 1024)),
    depth=maybe(st.integers(1, 8)),
    loss=st.sampled_from(LOSSES),
    augmentation=st.sampled_from(STRENGTHS),
    rotation=maybe(decimals(0, 180, 1)),
    scale=maybe(decimals(0, 1, 3)),
    elastic=maybe(decimals(0, 20, 2)),
    intensity=maybe(decimals(0, 1, 3)),
    w0=decimals(0, 1000, 2),
    sigma=decimals(0.1, 1000, 2),
    device=st.sampled_from(DEVICES),
    patch_size=maybe(st.integers(16, 2048)),
    learning_rate=maybe(decimals(1e-6, 1, 6)),
)


def test_what_is_set_is_read_back_without_telling_anybody(form, session):
    @given(ANY_SETTINGS)
    def check(settings):
        form.setValue(settings)
        assert form.value() == settings

    check()
    session.set_settings.assert_not_called()


def test_every_setting_has_a_row_that_explains_it(form):
    assert set(WORDS) == set(Settings.__dataclass_fields__)
    for name in WORDS:
        assert len(form.findChild(QWidget, name).toolTip()) > 30


def test_the_arrow_leads_from_auto_to_a_usual_value(qtbot, form, session):
    width = form.findChild(AutoSpin, "width")
    assert width.text() == "auto"
    qtbot.keyClick(width, Qt.Key.Key_Up)
    session.set_settings.assert_called_once_with(Settings(width=16))
    qtbot.keyClick(width, Qt.Key.Key_Down)
    assert form.value().width == 15


def test_below_the_lowest_value_lies_auto(qtbot, form):
    form.setValue(Settings(scale=0.0, depth=1))
    for name in ("scale", "depth"):
        qtbot.keyClick(form.findChild(AutoSpin, name), Qt.Key.Key_Down)
    assert form.value() == Settings()


def test_a_choice_is_told(qtbot, form, session):
    qtbot.keyClick(form.findChild(QComboBox, "ndim"), Qt.Key.Key_Down)
    session.set_settings.assert_called_once_with(Settings(ndim=3))


def test_a_state_is_shown_with_its_device(form):
    form.show_state(SessionState(settings=Settings(width=64), device="CPU, 2 threads, bf16"))
    assert form.value().width == 64
    assert form.findChild(QWidget, "device_words").text() == "CPU, 2 threads, bf16"


def test_scrolling_past_changes_nothing(form, session):
    form.show()
    width = form.findChild(AutoSpin, "width")
    turned = QWheelEvent(
        QPointF(5, 5),
        QPointF(width.mapToGlobal(QPoint(5, 5))),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(width, turned)
    assert form.value() == Settings()
    session.set_settings.assert_not_called()
