"""A stack of 100 GB that exists only where it is read: what is read of it, from opening to segmenting."""

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unet.core.io import open_image

SHAPE = (100_000, 1024, 1024)


class Endless:
    """Planes of bright squares, made when they are read; it remembers which."""

    shape, dtype, ndim = SHAPE, np.dtype(np.uint8), 3

    def __init__(self):
        rows, columns = np.indices(SHAPE[1:])
        noise = np.random.default_rng(0).integers(90, 110, SHAPE[1:])
        self._plane = (noise + 100 * (rows // 16 % 2 & columns // 16 % 2)).astype(np.uint8)
        self.planes = []

    def __getitem__(self, region):
        planes = np.atleast_1d(np.arange(SHAPE[0])[region[0]]).tolist()
        self.planes += planes
        found = np.stack([self._plane[region[1:]]] * len(planes))
        return found if isinstance(region[0], slice) else found[0]


@pytest.fixture
def endless():
    return Endless()


@pytest.fixture
def session(new_session, endless, by_hand, monkeypatch):
    """A session on it, where neither memory nor disk have room for a layer of that size."""

    def no_room(shape, dtype):
        raise OSError("no room")

    monkeypatch.setattr("napari_unet.session.segmenting.zeros", no_room)
    monkeypatch.setattr("napari_unet.session.segmenting_job.CPU_TILE", 128)  # the test is short
    viewer = ViewerModel()
    pixels = da.from_array(endless, chunks=(16, 1024, 1024), name=False, meta=np.empty((0, 0, 0), np.uint8))
    viewer.add_image(pixels, name="endless")
    return new_session(viewer, by_hand)


def test_only_what_is_looked_at_and_segmented_is_read(session, endless, by_hand, tmp_path):
    assert np.prod(SHAPE) > 10**11
    opening = set(endless.planes)
    assert len(opening) <= 64  # napari's contrast, from the whole of a few chunks
    here = session.desk.plane[0]
    session.paint_both((here,))
    session.train()
    by_hand.until(lambda: session.trainer.steps >= 2)
    session.stop()
    by_hand.finish()
    assert not session.failures
    training = set(endless.planes) - opening
    assert len(training) <= 65  # the intensities of the stack are measured in 64 places
    session.segment_stack()
    assert session.failures == ["no room"]  # which says to segment into a file
    session.failures.clear()
    endless.planes.clear()
    session.segment_stack(tmp_path / "endless.ome.zarr")
    unfinished = tmp_path / "endless.ome.zarr.unfinished"
    by_hand.until(lambda: session.failures or len(blocks(unfinished)) >= 2)
    session.cancel()
    by_hand.finish()
    assert not session.failures
    first = [z for z in endless.planes if z < 64]
    assert first and len(set(endless.planes)) <= 64 + 64 + 16  # blocks; a fingerprint; where tiles are tried
    assert "choose endless.ome.zarr again" in session.sentences[-1]
    result = open_image(unfinished / "result.ome.zarr").read((slice(0, 1), slice(0, 64), slice(0, 64)))
    assert result.any() and not (tmp_path / "endless.ome.zarr").exists()


def blocks(folder):
    """Lines of the journal that say what is done."""
    journal = folder / "journal.jsonl"
    return journal.read_text().splitlines()[1:] if journal.exists() else []
