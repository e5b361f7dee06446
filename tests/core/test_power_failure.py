"""What was not synced when the power failed is lost, and a resumed run makes the same result."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_unet.core.draining import drain
from napari_unet.core.io import open_image
from napari_unet.core.io.image import make_image
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.stacks import segment_stack


class Disk:
    """What lies on the disk: the content of files, and the names in folders, when they were synced last."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.files, self.names = folder, {}, {}
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "sync", self.sync)

    def fsync(self, handle):
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path.is_dir():
            self.names[path.stat().st_ino] = set(os.listdir(path))
        else:
            self.files[path.stat().st_ino] = path.read_bytes()

    def sync(self):
        for path in (self.folder, *self.folder.rglob("*")):
            if path.is_dir():
                self.names[path.stat().st_ino] = set(os.listdir(path))
            else:
                self.files[path.stat().st_ino] = path.read_bytes()

    def fail(self):
        """Leave of everything but the journal what was synced: its lines may have been lucky."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if not path.exists() or path.name.startswith("journal") or path.name == "lock":
                continue
            if path.name not in self.names.get(path.parent.stat().st_ino, ()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_file():
                path.write_bytes(self.files.get(path.stat().st_ino, b""))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to tell which file is synced")
@pytest.mark.parametrize("stop_after", [1, 3, 6, 9, 14])
@pytest.mark.parametrize(
    ("task", "suffix"), [("classes", ".tif"), ("classes", ".ome.zarr"), ("objects", ".ome.zarr")]
)
def test_nothing_that_the_journal_names_is_lost(tmp_path, monkeypatch, tiny_model, task, suffix, stop_after):
    pixels = np.random.default_rng(0).normal(size=(2, 70, 60)).astype(np.float32)
    image = make_image(pixels, "ZYX", {}, "pixel", (), "stack")
    config = SegmentConfig(device="cpu", precision="fp32", tile=32)
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    drain(segment_stack(tiny_model(task), image, whole, config))
    disk = Disk(tmp_path, monkeypatch)
    steps = segment_stack(tiny_model(task), image, cut, config)
    for _ in range(stop_after):
        next(steps, None)
    steps.close()
    disk.fail()
    if not cut.exists():
        drain(segment_stack(tiny_model(task), image, cut, config, resume=True))
    np.testing.assert_array_equal(open_image(cut).read(), open_image(whole).read())
