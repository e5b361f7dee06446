"""What INPUT and the options of reading stand for."""

import pytest

from napari_unet.cli.arguments import numbers_or_names, opening_options
from napari_unet.cli.inputs import Input, file_names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["A/1/0", "A/1/1"], ["A-1-0", "A-1-1"]),
        (["Serie ä 1", "細胞"], ["Serie-ä-1", "細胞"]),
        (["DAPI", "DAPI"], ["0", "1"]),
        (["a", "A"], ["0", "1"]),  # one file on some disks
        (["", "x"], ["0", "1"]),
        (["../x", "x"], ["0", "1"]),
    ],
)
def test_positions_name_files_that_differ(names, expected):
    assert file_names(names) == expected


def test_the_name_of_a_result_holds_the_position(tmp_path):
    assert Input((tmp_path / "plate.ome.zarr",), position=0, label="A-1").stem == "plate_A-1"
    assert Input((tmp_path / "run 1.h5:/raw",)).stem == "run 1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("0,2", (0, 2)), ("DAPI, 2", ("DAPI", 2)), ("-1", (-1,)), ("Alexa 488", ("Alexa 488",))],
)
def test_channels_are_numbers_or_names(text, expected):
    assert numbers_or_names(text) == expected


def test_options_that_are_not_given_leave_it_to_the_file():
    assert opening_options(None, "", "") == {"axes": None, "spacing": None, "channels": None}
