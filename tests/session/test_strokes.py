"""What is painted is found, whichever tool has painted it."""

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Labels

from napari_unet.session import strokes
from napari_unet.session.strokes import Strokes, shown_plane


def watched(shape=(4, 300, 400), dtype=np.uint8, **options):
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros(shape, dtype), **options)
    found = Strokes(layer)
    assert found.take() == set()
    return viewer, layer, found


def painted(layer, found):
    """Compare what is kept with what is in the layer."""
    kept = np.zeros(layer.data.shape, layer.dtype)
    for index, cells in found.cells.items():
        for (row, column), cell in cells.items():
            kept[index][row * 256 : row * 256 + 256, column * 256 : column * 256 + 256] = cell
    return np.array_equal(kept, layer.data)


def test_a_stroke_is_found_on_its_plane():
    viewer, layer, found = watched()
    viewer.dims.set_point(0, 2)
    found.take()
    layer.paint((2, 10, 250), 3)
    assert found.take() == {(2,)}
    assert found.values((2,)) == {3}
    assert found.take() == set()
    assert painted(layer, found)


def test_a_stroke_is_found_while_the_mouse_is_still_down():
    viewer, layer, found = watched()
    viewer.dims.set_point(0, 1)
    found.take()
    layer.mode = "paint"
    with layer.block_history():
        layer._draw(2, (1, 10, 10), (1, 10, 300))
        assert found.take() == {(1,)}
    assert found.take() == set()
    assert painted(layer, found)


def test_undo_and_redo_are_found():
    viewer, layer, found = watched()
    layer.paint((0, 10, 10), 3)
    layer.paint((0, 100, 390), 4)
    found.take()
    layer.undo()
    assert found.take() == {(0,)}
    assert found.values((0,)) == {3}
    layer.undo()
    assert found.take() == {(0,)}
    assert found.cells == {}
    viewer.dims.set_point(0, 3)
    layer.redo()
    assert found.take() == {(0,)}
    layer.redo()
    assert found.take() == {(0,)}
    assert found.values((0,)) == {3, 4}
    assert painted(layer, found)


def test_fill_polygon_and_eraser_are_found():
    _, layer, found = watched()
    layer.fill((0, 5, 5), 2)
    assert (found.take(), found.values((0,))) == ({(0,)}, {2})
    layer.paint_polygon([(0, 20, 20), (0, 20, 290), (0, 200, 200)], 5)
    assert (found.take(), found.values((0,))) == ({(0,)}, {2, 5})
    layer.contiguous = False
    layer.fill((0, 21, 100), 0)
    assert (found.take(), found.values((0,))) == ({(0,)}, {2})
    assert painted(layer, found)


def test_a_brush_through_several_planes_is_found_on_each():
    _, layer, found = watched((9, 300, 400))
    layer.n_edit_dimensions, layer.brush_size = 3, 5
    layer.paint((4, 100, 100), 1)
    assert found.take() == {(2,), (3,), (4,), (5,), (6,)}
    assert painted(layer, found)


def test_scattered_pixels_set_by_other_tools_are_found():
    _, layer, found = watched()
    layer.data_setitem((np.array([0, 3]), np.array([1, -1]), np.array([2, 399])), np.array([7, 8]))
    assert found.take() == {(0,), (3,)}
    assert painted(layer, found)


def test_painting_what_is_there_already_changes_nothing():
    _, layer, found = watched()
    layer.fill((0, 5, 5), 2)
    found.take()
    layer.paint((0, 10, 10), 2)
    assert found.take() == set()


def test_other_data_is_looked_through():
    _, layer, found = watched()
    layer.paint((0, 10, 10), 3)
    found.take()
    data = np.zeros_like(layer.data)
    data[2, 299, 399] = 9
    layer.data = data
    assert found.take() == {(0,), (2,)}
    assert painted(layer, found)


def test_other_data_of_a_hidden_layer_is_looked_through():
    _, layer, found = watched()
    layer.paint((0, 10, 10), 3)
    found.take()
    layer.visible = False
    layer.data = np.zeros_like(layer.data)
    assert found.take() == {(0,)}
    assert found.cells == {}


def test_undo_in_a_hidden_layer_is_found_when_it_is_shown():
    _, layer, found = watched()
    layer.paint((0, 10, 10), 3)
    found.take()
    layer.visible = False
    layer.undo()
    layer.visible = True
    assert found.take() == {(0,)}


def test_a_write_into_the_array_is_found_after_a_refresh():
    _, layer, found = watched()
    layer.data[3, 270, 20] = 5
    layer.refresh()
    assert found.take() == {(3,)}
    layer.data[3] = 0
    layer.refresh()
    assert found.take() == {(3,)}
    assert found.cells == {}


def test_a_write_into_any_plane_is_found_while_others_are_shown_and_painted(monkeypatch):
    monkeypatch.setattr(strokes, "BYTES_AT_ONCE", 1)  # a strip at a call
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((6, 30, 40), np.uint8))
    found = Strokes(layer)
    for _ in range(7):
        found.take()
    layer.data[4, 20, 20] = 6
    layer.refresh()
    changed = set()
    for z in (0, 1, 0, 1, 0, 1):
        viewer.dims.set_point(0, z)
        layer.paint((z, 5, 5), 1 + len(changed))
        for _ in range(2):  # the plane that is shown, and one more
            changed |= found.take()
    assert changed == {(0,), (1,), (4,)}
    assert painted(layer, found)


@pytest.mark.parametrize("shape", [(300, 400), (3, 300, 700), (2, 3, 300, 40)])
def test_a_plane_painted_by_its_pixels_is_found_in_every_cell(shape):
    _, layer, found = watched(shape)
    index = tuple(n - 1 for n in shape[:-2])
    rows, columns = (part.ravel() for part in np.mgrid[0 : shape[-2], 0 : shape[-1]])
    layer.data_setitem((*(np.full_like(rows, at) for at in index), rows, columns), 2)
    assert found.take() == {index}
    assert painted(layer, found)


def test_large_arrays_are_looked_through_in_pieces(monkeypatch):
    monkeypatch.setattr(strokes, "BYTES_AT_ONCE", 1)
    layer = Labels(np.zeros((6, 300, 40), np.uint8))
    layer.data[4, 290] = 2
    found = Strokes(layer)
    takes = [found.take() for _ in range(13)]
    assert takes.count({(4,)}) == 1
    assert takes.count(set()) == 12


def test_what_changes_behind_an_unfinished_look_is_found_in_the_next(monkeypatch):
    monkeypatch.setattr(strokes, "BYTES_AT_ONCE", 1)
    layer = Labels(np.zeros((4, 30, 40), np.uint8))
    found = Strokes(layer)
    assert [found.take() for _ in range(3)] == [set()] * 3
    layer.data[0] = 2
    layer.refresh()
    assert {(0,)} in [found.take() for _ in range(7)]


def test_many_known_cells_are_compared_in_pieces(monkeypatch):
    monkeypatch.setattr(strokes, "CELLS_AT_ONCE", 2)
    _, layer, found = watched((6, 30, 40))
    for z in range(6):
        layer.paint((z, 10, 10), 1)
    assert set().union(*(found.take() for _ in range(3))) == {(z,) for z in range(6)}


def test_annotation_that_is_there_from_the_start_is_found():
    layer = Labels(np.ones((2, 20, 20), np.int64))
    found = Strokes(layer)
    assert found.take() == {(0,), (1,)}


@pytest.mark.parametrize("dtype", ["int8", "uint16", ">i4", "int64", "uint64"])
def test_labels_of_any_integer_type_are_kept_in_native_order(dtype):
    _, layer, found = watched((300, 400), np.dtype(dtype))
    layer.paint((10, 10), 100)
    layer.data[50:60] = np.array(120, dtype)
    layer.refresh()
    assert found.take() == {()}
    assert found.values(()) == {100, 120}
    assert found.cells[()][0, 0].dtype.isnative
    assert not found.cells[()][0, 0].flags.writeable


def test_large_object_numbers_are_told_apart():
    _, layer, found = watched((300, 400), np.int32)
    layer.paint((10, 10), 2_000_000)
    layer.paint((100, 100), 2)
    found.take()
    assert found.values(()) == {2, 2_000_000}


@pytest.mark.parametrize("make", [zarr.array, da.from_array])
def test_annotation_need_not_lie_in_memory(make):
    layer = Labels(make(np.pad(np.full((1, 5, 5), 3, np.uint8), ((0, 2), (0, 300), (0, 0)))))
    found = Strokes(layer)
    assert found.take() == {(0,)}


def test_the_shown_plane_is_known_in_any_order_of_the_axes():
    viewer, layer, _ = watched((2, 5, 30, 40), scale=(1, 3, 0.5, 0.5), translate=(0, 6, 0, 0))
    viewer.dims.set_current_step((0, 1), (1, 4))
    assert shown_plane(layer) == (1, 4)
    viewer.dims.transpose()
    assert shown_plane(layer) is None
    viewer.dims.transpose()
    viewer.dims.roll()
    assert shown_plane(layer) is None


def test_strokes_across_the_planes_are_found_when_the_mouse_is_up():
    viewer, layer, found = watched((20, 300, 400))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 150)
    layer.brush_size = 5
    layer.paint((10, 150, 100), 1)
    assert found.take() == {(z,) for z in range(8, 13)}
    assert painted(layer, found)
