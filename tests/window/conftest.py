import os
from collections.abc import Iterator
from pathlib import Path

import napari
import pytest
from driver import Driver, missing


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what the dock keeps."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def photos(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder for the photographs of one test; $NAPARI_UNET_PHOTOS keeps them."""
    return Path(os.environ.get("NAPARI_UNET_PHOTOS", tmp_path)) / request.node.name


@pytest.fixture
def driver(photos: Path) -> Iterator[Driver]:
    """A real napari window, somebody at its mouse and keys, and nothing in it."""
    if reason := missing():
        pytest.skip(reason)
    driver = Driver(napari.Viewer(), photos)
    yield driver
    driver.close()
