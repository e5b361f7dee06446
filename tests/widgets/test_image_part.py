import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QMenu, QWidget

from napari_unet.session.desk import OURS
from napari_unet.session.images import ImageChoice
from napari_unet.session.state import SessionState
from napari_unet.widgets.image_part import ImagePart


def image(*shape, name="nuclei", **options):
    return Image(np.zeros(shape, np.uint8), name=name, **options)


@pytest.fixture
def part(make):
    return make(ImagePart)


def show(part, session, layers, choice):
    session.viewer.layers = list(layers)
    part.show_state(SessionState(choice=choice))


def ticks(part):
    return {action.text(): action for action in part.findChild(QMenu).actions()}


def is_offered(part, name):
    return not part.findChild(QWidget, name).isHidden()


def test_without_an_image_nothing_can_be_annotated(part, session, can_press):
    show(part, session, [], None)
    assert part.value() is None
    assert not can_press(part, "annotate")
    assert not is_offered(part, "axes") and not is_offered(part, "channels")


def test_the_choice_is_shown_without_telling_anybody(part, session, press):
    stack = image(5, 8, 8)
    choice = ImageChoice((stack,), "ZYX")
    show(part, session, [image(9, 9, name="other"), stack, image(4, 4, metadata={OURS: "x"})], choice)
    combo = part.findChild(QComboBox, "image")
    assert [combo.itemText(i) for i in range(combo.count())] == ["other", "nuclei"]
    assert combo.currentText() == "nuclei"
    assert part.value() is choice
    session.choose.assert_not_called()
    press(part, "annotate")
    session.annotate.assert_called_once_with()


def test_another_layer_is_chosen(qtbot, part, session):
    stack, flat = image(5, 8, 8), image(9, 9, name="flat")
    show(part, session, [stack, flat], ImageChoice((stack,), "ZYX"))
    qtbot.keyClick(part.findChild(QComboBox, "image"), Qt.Key.Key_Down)
    (chosen,) = session.choose.call_args.args
    assert chosen.layers == (flat,) and chosen.axes == "YX"


def test_a_stack_may_be_a_time_series(qtbot, part, session):
    stack = image(5, 8, 8)
    show(part, session, [stack], ImageChoice((stack,), "ZYX"))
    axes = part.findChild(QComboBox, "axes")
    axes.setCurrentText("TYX")
    axes.activated.emit(axes.currentIndex())
    (chosen,) = session.choose.call_args.args
    assert chosen.axes == "TYX" == part.value().axes


def test_channels_are_chosen_by_ticks_and_one_stays(part, session):
    stack = image(3, 8, 8)
    show(part, session, [stack], ImageChoice((stack,), "CYX"))
    channels = part.findChild(QWidget, "channels")
    assert channels.text() == "all 3 channels"
    ticks(part)["channel 1"].trigger()
    assert part.value().channels == (0, 2)
    ticks(part)["channel 0"].trigger()
    ticks(part)["channel 2"].trigger()
    assert part.value().channels == (2,) and channels.text() == "channel 2"


def test_colours_are_channels(part, session):
    photo = image(8, 8, 3, rgb=True)
    show(part, session, [photo], ImageChoice((photo,), "YXC"))
    ticks(part)["red"].trigger()
    assert part.value().channels == (1, 2)


def test_layers_of_equal_shape_are_further_channels(part, session):
    dapi, actin = image(5, 8, 8, name="DAPI"), image(5, 8, 8, name="actin")
    show(part, session, [dapi, actin, image(4, 4, name="small")], ImageChoice((dapi,), "ZYX"))
    assert list(ticks(part)) == ["DAPI", "actin"]
    ticks(part)["actin"].trigger()
    assert part.value().layers == (dapi, actin)
    assert session.choose.call_args.args[0].layers == (dapi, actin)


def test_a_new_name_is_shown(part, session):
    stack = image(8, 8)
    choice = ImageChoice((stack,), "YX")
    show(part, session, [stack], choice)
    stack.name = "renamed"
    show(part, session, [stack], choice)
    assert part.findChild(QComboBox, "image").currentText() == "renamed"


def test_a_layer_that_has_gone_is_no_choice(part, session):
    stack = image(8, 8)
    choice = ImageChoice((stack,), "YX")
    show(part, session, [stack], choice)
    show(part, session, [], choice)
    assert part.value() is None
