"""Objects by mouse and keys in a real window: accepted, rejected, split, merged, and all of it undone."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from user import User

from napari_unet.session.views import Place

Spot = tuple[int, int]


@pytest.fixture
def shown(user: User) -> User:
    """A user who sees the objects of the sample predicted, as if a network had found them all."""
    user.open_sample()
    user.open_dock()
    user.click("task_objects")
    user.annotate()
    height, width = user.truth.shape[-2:]
    place, previews = Place(user.plane, (0, height), (0, width)), user.session.teaching.previews
    previews.follow(user.session.state.choice, user.plane, 2)
    previews.show(SimpleNamespace(place=place), user.truth[user.plane].astype(np.uint16), None)
    user.pump(0.3)
    return user


def painted(user: User) -> NDArray[np.uint16]:
    """What is annotated on the slice that is shown."""
    return np.array(user.annotation.data[user.plane])


def middle(user: User, number: int) -> Spot:
    """A pixel in the middle of a predicted object."""
    rows, columns = np.nonzero(user.truth[user.plane] == number)
    nearest = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
    return int(rows[nearest]), int(columns[nearest])


def inner(user: User) -> list[int]:
    """Objects by size, the largest first, that lie away from the border of the image."""
    truth = user.truth[user.plane]
    at_border = {*truth[[0, -1]].ravel(), *truth[:, [0, -1]].ravel()}
    sizes = np.bincount(truth.ravel())
    return [int(n) for n in np.argsort(-sizes) if n and sizes[n] and n not in at_border]


def undo(user: User) -> None:
    """Press Ctrl+Z with the mouse over the image."""
    user.over(user.annotation, (2, 2))
    user.key("ctrl+z")


def test_objects_are_accepted_rejected_split_merged_and_undone(shown: User):
    first, second, third, *_ = inner(shown)
    predicted = shown.truth[shown.plane]
    nothing = painted(shown)
    shown.photograph("predicted objects")

    shown.click("accept_objects")
    shown.wait("the tool", lambda: shown.session.state.tool == "accept")
    shown.click(shown.on_canvas(shown.annotation, middle(shown, first)))
    shown.wait("an object is accepted", lambda: 2 in painted(shown))
    assert np.array_equal(painted(shown) == 2, predicted == first)
    shown.photograph("accepted")
    accepted = painted(shown)

    shown._xdotool("mousemove", *shown.on_canvas(shown.annotation, middle(shown, second)), "keydown", "shift")
    shown._xdotool("click", 1, "keyup", "shift")
    shown.wait("an object is rejected", lambda: (painted(shown)[predicted == second] == 1).all())
    shown.photograph("rejected")
    rejected = painted(shown)

    row, column = middle(shown, first)
    columns = np.flatnonzero(predicted[row] == first)
    left, right = int(columns.min()), int(columns.max())
    rows = np.flatnonzero((predicted == first).any(1))
    top, bottom = int(rows.min()) - 4, int(rows.max()) + 4
    shown.over(shown.annotation, (2, 2))
    shown.key("n")
    shown.wait("the next tool", lambda: shown.session.state.tool == "split")
    shown.stroke(shown.annotation, (top, column), (bottom, column))
    shown.wait("it is split", lambda: painted(shown).max() == 3)
    shown.photograph("split")
    divided = painted(shown)
    assert divided[row, left] != divided[row, right]
    assert np.array_equal(divided >= 2, predicted == first)

    shown.key("j")
    shown.wait("the last tool", lambda: shown.session.state.tool == "merge")
    shown.stroke(shown.annotation, (row, left + 2), (row, right - 2))
    shown.wait("they are merged", lambda: (painted(shown)[predicted == first] == divided[row, left]).all())
    whole = painted(shown)
    shown.stroke(shown.annotation, (row, right - 2), middle(shown, third))
    shown.wait("a predicted one joins", lambda: painted(shown)[middle(shown, third)] == divided[row, left])
    shown.photograph("merged")
    assert (painted(shown)[predicted == third] == divided[row, left]).all()

    for what, before in (
        ("joining", whole),
        ("merge", divided),
        ("split", rejected),
        ("reject", accepted),
        ("accept", nothing),
    ):
        undo(shown)
        shown.wait(f"{what} is undone", lambda before=before: np.array_equal(painted(shown), before))
    shown.photograph("undone")

    shown.key("m")
    shown.wait("the brush", lambda: shown.annotation.mode == "paint" and not shown.session.state.tool)
    shown.stroke(shown.annotation, middle(shown, first), middle(shown, second))
    shown.wait("a stroke", lambda: painted(shown).any())
    shown.photograph("painting again")
