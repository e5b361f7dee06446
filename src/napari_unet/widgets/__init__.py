"""The dock: small parts around a session. Importing it says in one sentence what is missing."""

from importlib.metadata import PackageNotFoundError, version

OLDEST_NAPARI = (0, 9)
REMEDY = "pip install 'napari-unet[gui]'"


def _require_napari() -> None:
    """Refuse a napari that is too old for the manifest's preferences and menus."""
    try:
        found = version("napari")
    except PackageNotFoundError:
        raise ImportError(f"the dock needs napari, which is not installed: {REMEDY}") from None
    if tuple(map(int, found.split(".")[:2])) < OLDEST_NAPARI:
        raise ImportError(f"the dock needs napari 0.9 or newer, not {found}: pip install --upgrade napari")


def _require_qt() -> None:
    """Refuse to go on without a Qt binding, as napari itself does."""
    try:
        import qtpy.QtWidgets  # noqa: F401
    except ImportError:  # qtpy's error where there is no binding is one of these
        raise ImportError(f"the dock needs a Qt binding, PySide6 or PyQt6: {REMEDY}") from None


_require_napari()
_require_qt()
