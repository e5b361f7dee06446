import gc
import os
from collections.abc import Iterator
from pathlib import Path

import napari
import pytest
from driver import missing
from napari.utils.notifications import NotificationSeverity, notification_manager
from user import User


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own for what the dock keeps."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    gc.collect()  # napari's own fixture, in tests that come later, wants every closed viewer gone


@pytest.fixture
def photos(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder for the photographs of one test; $NAPARI_UNET_PHOTOS keeps them."""
    return Path(os.environ.get("NAPARI_UNET_PHOTOS", tmp_path)) / request.node.name


@pytest.fixture
def user(photos: Path) -> Iterator[User]:
    """Somebody at mouse and keys of a real napari window with nothing in it; napari may report no error."""
    if reason := missing():
        pytest.skip(reason)
    notification_manager.records.clear()
    user = User(napari.Viewer(), photos)
    yield user
    user.close()
    vars(user).clear()  # pytest holds the user longer than the viewer may live
    errors = [each for each in notification_manager.records if each.severity == NotificationSeverity.ERROR]
    assert not errors, [each.message for each in errors]
