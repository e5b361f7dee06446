"""What is predicted next, and where it is shown: large views come in pieces from their centre."""

from dataclasses import replace

import numpy as np
import pytest

from napari_unet.core.normalise import Intensity
from napari_unet.session.classes import DEFAULT_CLASSES, prediction_colormap
from napari_unet.session.images import ImageChoice
from napari_unet.session.previews import Previews
from napari_unet.session.views import Place

COLOURS = prediction_colormap(DEFAULT_CLASSES)
INTENSITY = Intensity((0.0,), (1.0,))


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr("napari_unet.session.previews.PIECE", {2: 32, 3: 32})


@pytest.fixture
def choice(viewer, blobs):
    return ImageChoice((viewer.add_image(blobs(64, 96), name="blobs"),), "YX")


def show(previews, value=2):
    piece = previews.next_piece(INTENSITY).read()
    shape = [b - a for a, b in (piece.place.rows, piece.place.columns)]
    assert piece.image.shape == (1, *shape)
    previews.show(piece, np.full(shape, value, np.uint8), COLOURS)
    return piece.place


def test_a_large_view_is_shown_piece_by_piece_from_its_centre(viewer, choice, small_pieces):
    previews = Previews(viewer, 0.0)
    assert previews.follow(choice, (), 2)
    places = [show(previews)]
    while previews.has_more:
        places.append(show(previews))
    assert len(places) == 6 and not previews.is_single
    assert {places[0].columns, places[1].columns} == {(32, 64)}
    assert (viewer.layers["blobs prediction"].data == 2).all()
    assert previews.is_due or previews._due > 0


def test_the_same_view_is_no_news_and_another_one_begins_at_its_centre(viewer, choice, small_pieces):
    previews = Previews(viewer, 0.0)
    previews.follow(choice, (), 2)
    show(previews)
    assert not previews.follow(choice, (), 2)
    choice.layers[0].corner_pixels = np.array([[0, 0], [31, 31]])
    assert previews.follow(choice, (), 2)
    assert previews.is_single
    assert previews.next_piece(INTENSITY).place == Place((), (0, 32), (0, 32))


def test_nothing_is_read_where_nothing_is_looked_at(viewer, choice):
    previews = Previews(viewer, 0.0)
    assert not previews.follow(None, None, 2)
    assert previews.next_piece(INTENSITY) is None and previews.choice is None
    assert previews.follow(choice, (), 2) and previews.choice is choice
    assert previews.follow(choice, None, 2) and previews.choice is None


def test_a_view_rests_before_it_is_predicted_again(viewer, choice):
    previews = Previews(viewer, 3600.0)
    previews.follow(choice, (), 2)
    show(previews)
    assert not previews.has_more and not previews.is_due
    eager = Previews(viewer, 0.0)
    eager.follow(choice, (), 2)
    show(eager)
    assert eager.is_due
    eager.next_piece(INTENSITY)
    assert not eager.is_due


def test_one_overlay_serves_every_choice_of_an_image(viewer, choice):
    previews = Previews(viewer, 0.0)
    for each in (choice, replace(choice)):
        previews.follow(each, (), 2)
        show(previews)
    assert [layer.name for layer in viewer.layers] == ["blobs", "blobs prediction"]


def test_an_overlay_that_no_longer_fits_is_replaced(viewer, choice, blobs):
    previews = Previews(viewer, 0.0)
    previews.follow(choice, (), 2)
    show(previews)
    choice.layers[0].data = blobs(32, 48)
    previews.follow(choice, (), 2)
    show(previews)
    assert [layer.name for layer in viewer.layers] == ["blobs", "blobs prediction"]
    assert viewer.layers["blobs prediction"].data.shape == (32, 48)


def test_forgetting_clears_and_looks_anew(viewer, choice):
    previews = Previews(viewer, 0.0)
    previews.follow(choice, (), 2)
    show(previews)
    piece = previews.next_piece(INTENSITY).read()
    previews.forget()
    assert not viewer.layers["blobs prediction"].data.any()
    previews.show(piece, np.full((64, 96), 2, np.uint8), COLOURS)
    assert not viewer.layers["blobs prediction"].data.any()  # it came too late
    assert previews.follow(choice, (), 2)


def test_predictions_can_be_hidden(viewer, choice):
    previews = Previews(viewer, 0.0)
    previews.follow(choice, (), 2)
    show(previews)
    previews.toggle()
    assert not viewer.layers["blobs prediction"].visible
    previews.toggle()
    assert viewer.layers["blobs prediction"].visible


def test_a_large_view_is_predicted_whole_while_training_and_after(
    viewer, blobs, new_session, by_hand, small_pieces, monkeypatch
):
    monkeypatch.setattr("napari_unet.session.previews.monotonic", lambda: 1.0)  # no view takes any time
    viewer.add_image(blobs(64, 96), name="blobs")
    session = new_session(viewer, by_hand)
    session.paint_both()
    session.train()
    by_hand.until(lambda: "blobs prediction" in viewer.layers)
    overlay = viewer.layers["blobs prediction"]
    overlay.data[:] = 9  # whatever is predicted replaces it

    def is_whole():
        session.tick()
        return not (overlay.data == 9).any()

    by_hand.until(is_whole)
    session.stop()
    by_hand.finish()
    overlay.data[:] = 9
    session.teaching.previews._seen = None
    session.tick()
    assert not (overlay.data == 9).any() and not session.failures
