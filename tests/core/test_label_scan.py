"""Search for labels: every cell is found, whatever the chunks, and no more is read at once than allowed."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core import label_scan
from napari_unet.core.annotated_regions import CELL_SHAPE, cell_pixels, labelled_cells
from napari_unet.core.io import Image, open_labels
from napari_unet.core.label_scan import scan_labels


class Stored:
    """An array in chunks that notes what is read."""

    def __init__(self, array, chunks=None):
        self.array, self.chunks, self.regions = array, chunks, []
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, region):
        self.regions.append(region)
        return self.array[region]


def labels_of(data, axes=None):
    axes = axes or "ZYX"[-len(data.shape) :]
    return Image(data, axes, (1.0,) * len(axes.replace("T", "")), "pixel", ("",), "labels")


@st.composite
def labelled(draw):
    shape = draw(st.tuples(st.integers(1, 20), st.integers(1, 700), st.integers(1, 700)))
    array = np.zeros(shape, np.uint8)
    for _ in range(draw(st.integers(0, 6))):
        array[tuple(draw(st.integers(0, size - 1)) for size in shape)] = draw(st.integers(1, 255))
    chunks = draw(st.none() | st.tuples(*(st.integers(1, size) for size in shape)))
    return array, chunks, draw(st.sets(st.integers(0, shape[0] - 1)))


@settings(max_examples=60)
@given(labelled(), st.sampled_from([1, 2**18, 2**20, 2**26]))
def test_all_labelled_cells_of_the_wanted_planes_are_found_and_each_pixel_is_read_once(made, most):
    array, chunks, wanted = made
    stored = Stored(array, chunks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_scan, "MAX_BYTES", most)
        found = scan_labels(labels_of(stored), 0, wanted)
    expected = {z: labelled_cells(array[z]) for z in wanted if array[z].any()}
    assert found == expected
    n_read = np.zeros(array.shape, np.uint8)
    for region in stored.regions:
        n_read[region] += 1
        assert array[region].nbytes <= max(most, CELL_SHAPE[1] * array.shape[2])
    assert n_read.max(initial=0) <= 1 and n_read[sorted(wanted)].all()


def test_cells_of_a_plane_hold_its_labels():
    plane = np.zeros((600, 300), np.uint8)
    plane[255:257, 299] = 1
    assert labelled_cells(plane) == [(0, 1), (1, 1)]
    assert all(plane[cell_pixels(cell)].any() for cell in labelled_cells(plane))


def test_a_stored_chunk_is_decoded_once():
    stored = Stored(np.zeros((64, 512, 512), np.uint16), (16, 128, 128))
    scan_labels(labels_of(stored), 0, range(64))
    assert len(stored.regions) == 4
    assert all(region[0].start % 16 == region[1].start % 128 == 0 for region in stored.regions)


def test_planes_that_are_not_wanted_are_not_read():
    stored = Stored(np.ones((500, 64, 64), np.uint8))
    assert scan_labels(labels_of(stored), 0, [3, 400]).keys() == {3, 400}
    assert [region[0] for region in stored.regions] == [slice(3, 4), slice(400, 401)]


def test_single_planes_and_time_points():
    array = np.zeros((3, 300, 300), np.uint8)
    array[1, 280, 5] = 1
    labels = labels_of(Stored(array), "TYX")
    assert [scan_labels(labels, t, [0]) for t in range(3)] == [{}, {0: [(1, 0)]}, {}]


def test_chunks_of_zarr_hdf5_and_dask_are_known(tmp_path):
    import h5py

    zarr.create_array(tmp_path / "a.zarr", shape=(64, 90, 80), chunks=(16, 32, 20), dtype="u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("run", data=np.zeros((4, 5, 6), np.uint8))
        file.create_dataset("chunked", shape=(64, 90, 80), chunks=(8, 32, 20), dtype="u1")
    assert open_labels(tmp_path / "a.zarr").chunk_shape == (16, 32, 20)
    assert open_labels(f"{tmp_path}/a.h5:/chunked").chunk_shape == (8, 32, 20)
    assert open_labels(f"{tmp_path}/a.h5:/run").chunk_shape == (1, 5, 6)
    like_dask = Stored(np.zeros((30, 8, 9), np.uint8), ((20, 10), (8,), (5, 4)))
    assert labels_of(like_dask).chunk_shape == (20, 8, 5)
    assert labels_of(Stored(np.zeros((30, 8, 9), np.uint8), (10, 8, 9)), "TYX").chunk_shape == (8, 9)
