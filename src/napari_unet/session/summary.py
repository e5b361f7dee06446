"""What there is to show of a session."""

from typing import TYPE_CHECKING

from napari_unet.session.classes import BACKGROUND, OBJECT_STYLES
from napari_unet.session.state import ImageState, PlaneState, SessionState
from napari_unet.session.teaching import Teaching
from napari_unet.session.words import scored_on, verdict

if TYPE_CHECKING:
    from napari_unet.session.desk import Desk
    from napari_unet.session.session import Session


def summarise(session: "Session") -> SessionState:
    """Return what the dock shows."""
    desk, teaching = session.desk, session.teaching
    plane, current = desk.plane, desk.current
    return SessionState(
        choice=desk.choice,
        images=_images(desk),
        task=desk.task,
        classes=desk.classes,
        selected=desk.selected,
        plane=plane,
        plane_complete=current is not None and plane in current.complete,
        can_train=desk.cannot_train(),
        phase=teaching.phase,
        verdict=_verdict(desk, teaching),
        scored_on=_scored_on(desk, teaching),
        model=teaching.description,
        has_model=teaching.model is not None,
        ndim=teaching.ndim,
        has_predicted=_has_predicted(session),
        has_painted=desk.task == "objects" and max(desk.painted_values(), default=0) > BACKGROUND,
        cannot_link=_cannot_link(desk, teaching),
        device=session.device,
        settings=session.settings,
        weight_map=session.weights.is_on,
        tool=session.pointing.tool,
        segmenting=session.segmenting.busy,
        cancelling=session.segmenting.is_ending,
        begun=session.segmenting.left(desk.choice),
        measure=session.measuring.state,
        kept=session.keeping.offer.offer if session.keeping.offer else "",
    )


def _has_predicted(session: "Session") -> bool:
    """Tell whether there are layers of predicted objects of the chosen image."""
    choice = session.desk.choice
    sources = session.teaching.previews, session.segmenting
    return choice is not None and any(each.objects_of(choice) for each in sources)


def _cannot_link(desk: "Desk", teaching: Teaching) -> str:
    """Say why objects of neighbouring slices are not linked."""
    if teaching.model is None:
        return "train or load a model first"
    if len(teaching.model.axes) == 3:
        return "a 3D network sees the slices together: its objects go through them anyway"
    has_slices = desk.choice is not None and "Z" in desk.choice.plane_axes
    return "" if has_slices else "the image is no stack of slices"


def _images(desk: "Desk") -> tuple[ImageState, ...]:
    return tuple(
        ImageState(
            image.choice.name,
            tuple(PlaneState(index, index in image.complete) for index in image.planes),
        )
        for image in desk.images
    )


def _verdict(desk: "Desk", teaching: Teaching) -> str:
    painted = desk.painted_values()
    if desk.task == "objects":
        amounts = {
            style.name: int(any(_is_painted(style.value, v) for v in painted)) for style in OBJECT_STYLES
        }
    else:
        amounts = {style.name: int(style.value in painted) for style in desk.classes}
    trainer = teaching.trainer
    if trainer is None:
        return verdict([], amounts, teaching.phase)
    return verdict(
        trainer.scores,
        amounts,
        teaching.phase,
        holdout=trainer.holdout,
        is_ending=trainer.is_ending,
        is_held=trainer.is_held,
        n_steps=trainer.steps,
        is_loaded=trainer.is_loaded,
    )


def _scored_on(desk: "Desk", teaching: Teaching) -> str:
    names = {image.source: image.choice.name for image in desk.images}
    return scored_on(teaching.trainer.holdout, names) if teaching.trainer else ""


def _is_painted(value: int, painted: int) -> bool:
    """Every value from 2 on is an object."""
    return painted == value or (value == 2 and painted > 2)
