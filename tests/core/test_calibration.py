"""The halo: exact, given, or the smallest that suffices on the image itself."""

import numpy as np
import pytest
import torch

from napari_unet.core.calibration import TOLERANCE, calibrate_halo, choose_grid
from napari_unet.core.inference import Predictor
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.predicting import predict

SHAPE = (40, 256, 256)


def predictor_of(sharpness=1.0, **config):
    torch.manual_seed(0)
    network = UNet(UNetConfig(width=4, depth=3, **config))
    with torch.no_grad():
        network.head.weight *= sharpness
    return Predictor(network, precision="fp32")


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def reader(image):
    return lambda region: image[:, region[0].start, *region[1:]]


def test_the_exact_halo_is_a_multiple_of_the_stride_and_covers_the_context():
    predictor = predictor_of()
    assert predictor.exact_halo == (48, 48)
    assert predictor_of(padding="valid", norm="none").exact_halo == (0, 0)


@pytest.mark.parametrize(("halo", "expected"), [("exact", 48), (0, 0), (1, 8), (32, 32), (500, 48)])
def test_a_given_halo_is_rounded_up_to_the_stride_and_never_more_than_exact(halo, expected):
    grid = choose_grid(predictor_of(), reader(noise(1, 1, 64, 64)), (1, 64, 64), halo=halo)
    assert grid.halo == (expected, expected)


@pytest.mark.parametrize("halo", ["some", -1])
def test_another_halo_is_an_error(halo):
    with pytest.raises(ValueError, match="choose auto, exact or a number"):
        choose_grid(predictor_of(), reader(noise(1, 1, 8, 8)), (1, 8, 8), halo=halo)


def test_a_tile_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="tile is 0"):
        choose_grid(predictor_of(), reader(noise(1, 1, 8, 8)), (1, 8, 8), tile=0)


def test_a_small_image_is_not_worth_calibrating():
    def read(region):
        raise AssertionError("nothing has to be read")

    assert choose_grid(predictor_of(), read, (1, 256, 256)).halo == (48, 48)


def test_a_stack_gets_the_smallest_halo_that_keeps_the_tolerance():
    image = noise(1, *SHAPE)
    blunt = choose_grid(predictor_of(sharpness=1e-3), reader(image), SHAPE, tile=64)
    assert blunt.halo == (8, 8)
    sharp = predictor_of(sharpness=3)
    grid = choose_grid(sharp, reader(image), SHAPE, tile=64)
    assert (8, 8) < grid.halo <= (48, 48)
    exact = predict(sharp, image[:, 7], sharp.grid(SHAPE[1:], tile=64))
    error = np.abs(predict(sharp, image[:, 7], grid) - exact)
    assert error.max() < 5 * TOLERANCE and error.mean() < TOLERANCE / 10


def test_blank_samples_do_not_decide():
    image = np.zeros((1, *SHAPE), np.float32)
    image[:, ::2] = noise(1, *SHAPE)[:, ::2]
    sharp = predictor_of(sharpness=3)
    assert choose_grid(sharp, reader(image), SHAPE, tile=64).halo > (8, 8)


def test_where_every_sample_is_blank_the_halo_is_exact():
    image = np.zeros((1, *SHAPE), np.float32)
    assert choose_grid(predictor_of(sharpness=3), reader(image), SHAPE, tile=64).halo == (48, 48)


def test_the_first_halo_within_the_tolerance_is_taken():
    predictor = predictor_of(sharpness=0)
    halos = [(0, 0), (8, 8), (48, 48)]
    assert calibrate_halo(predictor, [noise(1, 112, 112)], (16, 16), halos) == (0, 0)
