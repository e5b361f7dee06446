"""One session for each viewer, which docks and commands share."""

from typing import Any

from napari.components import ViewerModel

from napari_unet.session.jobs import Start, run_now
from napari_unet.session.session import Session

PLACE = "napari_unet_session"
"""Where a viewer's layers keep its session: both live equally long, also while no dock is open."""


def session_of(viewer: ViewerModel) -> Session | None:
    """Return the session of a viewer, if one has been opened."""
    return getattr(getattr(viewer, "__wrapped__", viewer).layers, PLACE, None)


def open_session(viewer: ViewerModel, start: Start = run_now, **preferences: Any) -> Session:
    """Return the session of a viewer, a new one if there is none: docks share it, or go on with it."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # plugins are handed a proxy
    session = session_of(viewer)
    if session is None:
        session = Session(viewer, start, **preferences)
        setattr(viewer.layers, PLACE, session)
    return session
