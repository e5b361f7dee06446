import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import npe2
import pytest

import napari_unet

ROOT = Path(__file__).parents[1]
GUI = {"magicgui", "napari", "PyQt6", "pyqtgraph", "PySide6", "qtpy", "superqt"}
FILE_LIBRARIES = {"dask", "h5py", "zarr"}
NUMERIC = {"numpy", "scipy", "skimage", "tifffile", "torch"}


def loaded_by(statement: str, *options: str) -> set[str]:
    """Top-level modules of a fresh interpreter after one statement."""
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, *options, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("napari_unet", GUI | FILE_LIBRARIES | NUMERIC),
        ("napari_unet.samples", GUI | FILE_LIBRARIES | (NUMERIC - {"numpy"})),
        ("napari_unet.core", GUI | FILE_LIBRARIES),
        ("napari_unet.cli", GUI | FILE_LIBRARIES | NUMERIC),
        ("napari_unet.session.session", {"PyQt6", "PySide6", "torch"}),
        ("napari_unet.widgets.dock", {"torch"}),
        ("napari_unet.widgets.reader", {"torch"}),
    ],
)
def test_importing_stays_light(module, unwanted):
    assert loaded_by(f"import {module}") & unwanted == set()


NO_QT = "import sys; sys.modules.update(dict.fromkeys(['PyQt5', 'PyQt6', 'PySide2', 'PySide6']))"
NO_NAPARI = """
import importlib.metadata as m
def version(name, real=m.version):
    if name == "napari":
        raise m.PackageNotFoundError(name)
    return real(name)
m.version = version
"""
OLD_NAPARI = """
import importlib.metadata as m
m.version = lambda name, real=m.version: "0.8.1" if name == "napari" else real(name)
"""


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        (
            NO_QT,
            "the dock needs a Qt binding, PySide6 or PyQt6: pip install 'napari-unet[gui]'",
        ),
        (
            NO_NAPARI,
            "the dock needs napari, which is not installed: pip install 'napari-unet[gui]'",
        ),
        (OLD_NAPARI, "the dock needs napari 0.9 or newer, not 0.8.1: pip install --upgrade napari"),
    ],
    ids=["no Qt", "no napari", "an old napari"],
)
@pytest.mark.parametrize("module", ["napari_unet.widgets", "napari_unet.widgets.dock"])
def test_one_sentence_says_what_the_dock_needs(module, without, sentence):
    ended = subprocess.run(
        [sys.executable, "-c", f"{without}\nimport {module}"], capture_output=True, text=True, check=False
    )
    last_line = ended.stderr.strip().splitlines()[-1]
    assert last_line == f"ImportError: {sentence}"


def test_the_version_is_known_where_nothing_is_installed():
    # -S: no site-packages, so no metadata of an installed copy
    assert "napari_unet" in loaded_by("import napari_unet; napari_unet.__version__", "-S")


def test_the_installed_version_is_the_one_in_the_source():
    assert version("napari-unet") == napari_unet.__version__


def test_napari_finds_the_manifest_and_every_command_in_it():
    manifest = npe2.PluginManifest.from_distribution("napari-unet")
    manifest.validate_imports()
    assert manifest.package_version == napari_unet.__version__
    keys = {sample.key for sample in manifest.contributions.sample_data}
    assert keys == {"nuclei", "nuclei_stack", "blobs_3d"}


def test_the_manifest_at_the_root_is_the_packaged_one():
    link = ROOT / "napari.yaml"
    if link.is_file() and not link.is_symlink():
        pytest.skip("checked out without symbolic links: a text file stands in for the link")
    assert link.resolve() == Path(napari_unet.__file__).with_name("napari.yaml")
