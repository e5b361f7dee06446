"""Which image is worked on, where the viewer stands, and what is painted on which layer."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unet.core.targets import MAX_CLASSES
from napari_unet.session.classes import N_OBJECT_COLOURS, add_class, without_class
from napari_unet.session.desk import OURS, Desk, is_image
from napari_unet.session.images import ImageChoice
from napari_unet.session.kept import find_kept


@pytest.fixture
def desk(viewer):
    return Desk(viewer)


def test_the_selected_image_is_chosen_else_the_topmost(viewer, desk):
    first = viewer.add_image(np.zeros((8, 9)), name="first")
    second = viewer.add_image(np.zeros((8, 9)), name="second")
    viewer.add_labels(np.zeros((8, 9), int))
    desk.find_image()
    assert desk.choice.layers == (second,)
    viewer.layers.remove(second)
    desk.find_image()
    assert desk.choice.layers == (first,)
    viewer.layers.remove(first)
    desk.find_image()
    assert desk.choice is None


def test_a_choice_stays_while_its_layers_do(viewer, desk):
    first = viewer.add_image(np.zeros((8, 9)))
    desk.find_image()
    choice = desk.choice
    viewer.layers.selection.active = viewer.add_image(np.zeros((8, 9)))
    desk.find_image()
    assert desk.choice is choice and choice.layers == (first,)


def test_pictures_of_ours_and_images_with_too_many_axes_are_no_images(viewer, desk):
    ours = viewer.add_image(np.zeros((8, 9)), metadata={OURS: "weight map"})
    deep = viewer.add_image(np.zeros((1, 1, 1, 1, 8, 9)))
    assert not is_image(ours) and not is_image(deep)
    desk.find_image()
    assert desk.choice is None and desk.cannot_train() == "open an image first"


def test_the_plane_follows_the_viewer_in_world_units(viewer, desk):
    viewer.add_image(np.zeros((2, 5, 8, 9)), scale=(1, 3, 1, 1), translate=(0, 10, 0, 0))
    desk.find_image()
    for point, index in [((0, 10), (0, 0)), ((1, 16), (1, 2)), ((1, 22), (1, 4))]:
        viewer.dims.set_point((0, 1), point)
        assert desk.plane == index
    viewer.add_image(np.zeros((2, 50, 8, 9)), scale=(1, 3, 1, 1))
    viewer.dims.set_point((0, 1), (0, 90))
    assert desk.plane is None
    with pytest.raises(ValueError, match="no slice of the image is shown"):
        desk.shown_plane()


def test_no_plane_is_shown_in_3d_or_when_cut_across(viewer, desk):
    viewer.add_image(np.zeros((5, 8, 9)))
    desk.find_image()
    assert desk.plane == (2,)
    viewer.dims.ndisplay = 3
    assert desk.plane is None
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    assert desk.plane is None


def test_every_channel_shows_the_same_plane(viewer, desk):
    image = viewer.add_image(np.zeros((3, 4, 8, 9)))
    desk.choose(ImageChoice((image,), "CZYX"))
    annotation = desk.annotate().layer
    assert annotation.data.shape == (1, 4, 8, 9)
    for channel in range(3):
        viewer.dims.set_point((0, 1), (channel, 3))
        assert desk.plane == (0, 3)


def test_an_annotation_is_made_once_and_is_at_hand_again(viewer, desk):
    first, second = (viewer.add_image(np.zeros((8, 9)), name=name) for name in "ab")
    desk.choose(ImageChoice((first,), "YX"))
    one = desk.annotate()
    desk.choose(ImageChoice((second,), "YX"))
    assert desk.current is None
    two = desk.annotate()
    assert viewer.layers.selection.active is two.layer
    desk.choose(ImageChoice((first,), "YX"))
    assert desk.annotate() is one and viewer.layers.selection.active is one.layer
    assert desk.images == (one, two)


def test_axes_that_are_read_otherwise_have_an_annotation_of_their_own(viewer, desk):
    image = viewer.add_image(np.zeros((3, 8, 9)))
    desk.choose(ImageChoice((image,), "ZYX"))
    as_stack = desk.annotate()
    desk.choose(ImageChoice((image,), "CYX"))
    assert desk.current is None
    assert desk.annotate().layer.data.shape == (1, 8, 9) != as_stack.layer.data.shape


def test_the_brush_paints_the_selected_class_on_every_image(viewer, desk):
    for name in "ab":
        desk.choose(ImageChoice((viewer.add_image(np.zeros((8, 9)), name=name),), "YX"))
        desk.annotate()
    desk.select_class(1)
    assert [each.layer.selected_label for each in desk.images] == [1, 1] and desk.selected == 1


def test_a_removed_class_is_erased_everywhere_and_undo_brings_it_back_as_a_class(viewer, desk):
    viewer.add_image(np.zeros((2, 8, 9)))
    desk.find_image()
    layer = desk.annotate().layer
    desk.set_classes(add_class(desk.classes))
    for plane, value in ((0, 3), (0, 2), (1, 3)):
        layer.data_setitem((np.array([plane]), np.array([value]), np.array([value])), value)
    desk.changed_planes()
    desk.set_classes(without_class(desk.classes, 3))
    assert set(np.unique(layer.data)) == {0, 2}
    desk.changed_planes()
    assert [each.value for each in desk.classes] == [1, 2]
    layer.undo()
    for _ in range(3):
        desk.changed_planes()
    assert [each.value for each in desk.classes] == [1, 2, 3]


def test_objects_are_no_classes(viewer, desk):
    viewer.add_image(np.zeros((8, 9)))
    desk.find_image()
    desk.set_task("objects")
    layer = desk.annotate().layer
    layer.data_setitem((np.arange(5), np.arange(5)), 300)
    desk.changed_planes()
    assert len(desk.classes) == 2 and desk.painted_values() == {300}
    assert desk.cannot_train() == "paint some background (label 1), or mark the slice complete"
    desk.current.mark_complete((), True)
    assert desk.cannot_train() == ""


def test_what_is_missing_before_training_is_named(viewer, desk):
    assert desk.cannot_train() == "open an image first"
    viewer.add_image(np.zeros((8, 9)))
    desk.find_image()
    assert desk.cannot_train() == "press Annotate and paint a few strokes first"
    layer = desk.annotate().layer
    two = "paint at least two classes, background being one of them"
    assert desk.cannot_train() == two
    layer.data_setitem((np.array([0]), np.array([0])), 2)
    desk.changed_planes()
    assert desk.cannot_train() == two
    desk.current.mark_complete((), True)
    assert desk.cannot_train() == ""
    desk.set_classes(tuple(replace(each, is_background=each.value == 2) for each in desk.classes))
    assert desk.cannot_train() == two  # the unlabelled rest is of the same class now


def test_layers_that_go_take_their_annotation_with_them():
    viewer = ViewerModel()
    desk = Desk(viewer)
    images = [viewer.add_image(np.zeros((8, 9)), name=name) for name in "ab"]
    for image in images:
        desk.choose(ImageChoice((image,), "YX"))
        layer = desk.annotate().layer
        layer.data_setitem((np.array([0]), np.array([0])), 2)
    desk.changed_planes()
    viewer.layers.remove(images[0])
    (gone,) = desk.drop_gone()
    assert gone.choice.layers == (images[0],) and len(desk.images) == 1
    desk.current.layer.data = np.zeros((4, 4), np.uint8)
    (unfit,) = desk.drop_gone()
    assert not unfit.fits and desk.images == () and not desk.drop_gone()


@pytest.mark.parametrize(
    ("channels", "left"), [(None, None), ((0, 2), (0, 1)), ((2,), (1,)), ((1,), None), ((2, 1, 0), (1, 0))]
)
def test_channels_whose_layers_are_deleted_are_left_out(viewer, desk, channels, left):
    layers = tuple(viewer.add_image(np.zeros((8, 9)), name=name) for name in "abc")
    desk.choose(ImageChoice(layers, "YX", channels))
    image = desk.annotate()
    image.layer.paint((4, 4), 2)
    viewer.layers.remove("b")
    assert not desk.drop_gone()
    assert desk.choice is image.choice is desk.current.choice
    assert image.choice.layers == (layers[0], layers[2]) and image.choice.channels == left
    image.changed_planes()
    viewer.layers.remove("a")
    assert desk.drop_gone() == {image: "the image of a annotation was deleted"}


def test_one_class_more_than_fits_is_refused_and_nothing_painted_is_lost(session):
    classes = session.desk.classes
    while len(classes) < MAX_CLASSES:
        classes = add_class(classes)
    session.set_classes(classes)
    session.paint_both()
    session.paint(40, (40, 50), (40, 50))
    session.tick()
    why = "40 is painted and cannot become a class, 20 are the most: undo it, or remove a class"
    assert session.failures == [why] and session.state.can_train == why
    session.tick()
    session.close()
    kept = find_kept(session.desk.current.key)
    assert any((cell == 40).any() for _, cells in kept.cells() for cell in cells.values())
    session.set_classes(without_class(session.desk.classes, 20))
    session.tick()
    assert session.desk.classes[-1].value == 40 and session.state.can_train == ""


def test_the_next_object_is_never_the_background(viewer, desk):
    viewer.add_image(np.zeros((8, 9)))
    desk.find_image()
    desk.set_task("objects")
    layer = desk.annotate().layer
    desk.next_object()
    assert layer.selected_label == 2
    layer.paint((2, 2), 5)
    desk.changed_planes()
    desk.next_object()
    assert layer.selected_label == 6


@pytest.mark.parametrize("mode", ["pan_zoom", "erase", "polygon"])
def test_background_is_painted_among_objects(viewer, desk, mode):
    viewer.add_image(np.zeros((8, 9)))
    desk.find_image()
    desk.set_task("objects")
    desk.paint_with(1)  # the first thing that is painted
    layer = desk.current.layer
    assert (layer.selected_label, layer.mode) == (1, "paint")
    desk.next_object()
    layer.mode = mode
    desk.paint_with(1)
    assert (layer.selected_label, layer.mode) == (1, "polygon" if mode == "polygon" else "paint")


def test_background_among_objects_is_light_and_no_object_looks_like_it(viewer, desk):
    viewer.add_image(np.zeros((8, 9)))
    desk.find_image()
    desk.set_task("objects")
    colours = desk.annotate().layer.colormap.map(np.arange(2**16, dtype=np.uint16))
    assert colours[1, :3].min() > 0.5 and colours[0, 3] == 0
    numbers = slice(2, N_OBJECT_COLOURS)  # beyond, colours come again
    assert np.abs(colours[numbers] - colours[1]).max(axis=1).min() > 0


def test_no_object_has_a_number_that_the_annotation_cannot_hold(viewer, desk):
    viewer.add_image(np.zeros((8, 9)), name="cells")
    desk.find_image()
    desk.set_task("objects")
    desk.annotate().layer.data_setitem((np.array([1]), np.array([1])), 65535)
    desk.changed_planes()
    with pytest.raises(ValueError, match="objects up to number 65,535 and none can be higher"):
        desk.next_object()
