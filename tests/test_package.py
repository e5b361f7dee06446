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
    ],
)
def test_importing_stays_light(module, unwanted):
    assert loaded_by(f"import {module}") & unwanted == set()


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
