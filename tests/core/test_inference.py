"""Inference: tiled equals untiled, whatever the tile; memory that runs out; precision and folding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_unet.core import predicting
from napari_unet.core.draining import advance, drain
from napari_unet.core.inference import Predictor
from napari_unet.core.networks import build_network
from napari_unet.core.networks.prepared import prepare_for_inference
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.predicting import predict, predict_part
from napari_unet.core.tiling import mirror_indices, read_mirrored


def random_network(config, architecture="unet"):
    """Random weights that let every pixel of the context matter, and batch norm that has seen data."""
    torch.manual_seed(0)
    network = build_network(architecture, config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


def untiled(network, image):
    """The definition: the whole image, mirrored at its borders far beyond the context, in one piece."""
    predictor = Predictor(network, precision="fp32")
    shape = image.shape[1:]
    before = [halo + lost for halo, lost in zip(predictor.exact_halo, network.margin, strict=True)]
    size = network.input_shape([n + 2 * halo for n, halo in zip(shape, predictor.exact_halo, strict=True)])
    places = [
        mirror_indices(-start, length - start, n)
        for start, length, n in zip(before, size, shape, strict=True)
    ]
    with torch.inference_mode():
        logits = network(torch.from_numpy(image[:, *np.ix_(*places)][None]))[0]
    cropped = logits[:, *(slice(halo, halo + n) for halo, n in zip(predictor.exact_halo, shape, strict=True))]
    return torch.softmax(cropped, 0).numpy()


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@st.composite
def cases(draw):
    ndim = draw(st.sampled_from([2, 2, 3]))
    depth = draw(st.integers(1, 3 if ndim == 2 else 2))
    pools = tuple(
        (draw(st.sampled_from([1, 2])), *(2,) * (ndim - 1)) for _ in range(depth)
    )  # anisotropic now and then
    config = UNetConfig(
        ndim=ndim,
        in_channels=draw(st.integers(1, 2)),
        width=3,
        depth=depth,
        padding=draw(st.sampled_from(["same", "valid"])),
        norm=draw(st.sampled_from(["batch", "none"])),
        upsample=draw(st.sampled_from(["transpose", "linear"])),
        pools=pools,
    )
    shape = tuple(draw(st.integers(1, 70 if ndim == 2 else 20)) for _ in range(ndim))
    return config, shape, draw(st.integers(1, 40 if ndim == 2 else 16))


@settings(max_examples=30, deadline=None)
@given(cases())
def test_tiled_equals_untiled(case):
    config, shape, tile = case
    network = random_network(config)
    image = noise(config.in_channels, *shape)
    predictor = Predictor(network, precision="fp32")
    tiled = predict(predictor, image, predictor.grid(shape, tile=tile))
    np.testing.assert_allclose(tiled, untiled(network, image), atol=1e-4)


@pytest.mark.parametrize("architecture", ["fcn32s", "fcn8s", "deconvnet"])
def test_tiled_equals_untiled_for_the_older_networks(architecture):
    network = random_network(UNetConfig(width=3, depth=3), architecture)
    image = noise(1, 50, 41)
    predictor = Predictor(network, precision="fp32")
    tiled = predict(predictor, image, predictor.grid((50, 41), tile=16))
    np.testing.assert_allclose(tiled, untiled(network, image), atol=1e-4)


def test_the_papers_network_predicts_images_of_any_size():
    network = random_network(UNetConfig(width=2, depth=4, padding="valid", norm="none"))
    result = predict(Predictor(network), noise(1, 33, 5))
    assert result.shape == (2, 33, 5)
    np.testing.assert_allclose(result.sum(0), 1, atol=1e-5)


def test_less_halo_is_worse():
    network = random_network(UNetConfig(width=4, depth=2))
    image, predictor = noise(1, 64, 64), Predictor(network, precision="fp32")
    errors = [
        np.abs(
            predict(predictor, image, predictor.grid((64, 64), (halo, halo), 16)) - untiled(network, image)
        ).max()
        for halo in (0, 8, 24)
    ]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-5


def test_folding_batch_norm_changes_nothing_and_leaves_the_network_alone():
    network = random_network(UNetConfig(width=4, depth=2))
    image = torch.from_numpy(noise(2, 1, 16, 16))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predictor = Predictor(network, precision="fp32")
    np.testing.assert_allclose(predictor.logits(image), network(image).detach(), atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in predictor.network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.encoder[0][0].weight.requires_grad


@pytest.mark.parametrize("architecture", ["unet", "fcn8s", "deconvnet"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_bf16_is_close_to_fp32(architecture, ndim):
    network = random_network(UNetConfig(ndim=ndim, width=4, depth=3), architecture)
    image = 0.3 * torch.from_numpy(noise(1, 1, *(16,) * ndim))
    exact, fast = (Predictor(network, precision=name).probabilities(image) for name in ("fp32", "bf16"))
    assert fast.dtype == torch.float32
    np.testing.assert_allclose(exact, fast, atol=0.1)


class Greedy(UNet):
    """A network whose memory runs out above a number of pixels, or of images."""

    largest, most = 0, 10**9
    seen = ()

    def forward(self, image, keep=None):
        self.seen = [*self.seen, image]
        if image[0, 0].numel() > self.largest or len(image) > self.most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to")
        return super().forward(image, keep)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("shape", [(60, 50), (20, 21, 9)])
def test_a_tile_that_does_not_fit_the_memory_is_done_in_pieces(padding, shape):
    config = UNetConfig(ndim=len(shape), width=3, depth=1, padding=padding, norm="none")
    network = random_network(config)
    greedy = Greedy(config)
    greedy.load_state_dict(network.state_dict())
    Greedy.largest = 40**2 if len(shape) == 2 else 24**3
    image = noise(1, *shape)
    predictor = Predictor(greedy, precision="fp32")
    result = predict(predictor, image, predictor.grid(shape, tile=64))
    np.testing.assert_allclose(result, untiled(network, image), atol=1e-4)


def test_memory_that_suffices_for_no_piece_is_an_error():
    Greedy.largest = 0
    with pytest.raises(MemoryError, match="use a smaller --halo"):
        predict(Predictor(Greedy(UNetConfig(width=2, depth=1))), noise(1, 16, 16))


def test_other_errors_of_the_network_are_not_swallowed():
    with pytest.raises(RuntimeError, match="channels"):
        predict(Predictor(UNet(UNetConfig(width=2, depth=1, in_channels=2))), noise(1, 16, 16))


def test_tiles_are_as_large_as_the_memory_allows(monkeypatch):
    monkeypatch.setattr("napari_unet.core.inference.free_memory", lambda device: 2 * 300**2 * 9 * 16 * 4)
    predictor = Predictor(UNet(UNetConfig(width=16, depth=2)), precision="fp32")
    grid = predictor.grid((5000, 5000))
    assert 80_000 < np.prod(grid.read_shape) <= 300**2 and min(grid.read_shape) > 250
    assert predictor.grid((100, 100)).n_tiles == (1, 1)
    assert predictor.grid((5000, 5000), tile=64).tile_shape == (64, 64)


def tiles_of(predictor, image, tile):
    grid = predictor.grid(image.shape[1:], tile=tile)
    read = [read_mirrored(lambda region: image[:, *region], each.read, image.shape[1:]) for each in grid]
    return read, [each.crop for each in grid]


@pytest.mark.parametrize("shape", [(40, 52), (10, 13, 9)])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tiles_at_once_are_what_each_is_alone(shape, n_classes, precision):
    network = random_network(UNetConfig(ndim=len(shape), n_classes=n_classes, width=4, depth=1))
    predictor, image = Predictor(network, precision=precision), noise(1, *shape)
    blocks, crops = tiles_of(predictor, image, tile=8)
    probabilities = predictor.predict_tiles(blocks, crops, classes=False)
    labels = predictor.predict_tiles(blocks, crops, classes=True)
    assert len(probabilities) == len(labels) == len(blocks) > 1
    for block, crop, probability, label in zip(blocks, crops, probabilities, labels, strict=True):
        logits = predictor.logits(torch.from_numpy(block[None]))[0][:, *crop]
        tolerance = 1e-5 if precision == "fp32" else 0.02  # another batch, other sums
        np.testing.assert_allclose(probability, torch.softmax(logits, 0), atol=tolerance)
        np.testing.assert_allclose(predictor.predict_tile(block, crop), probability, atol=tolerance)
        best, second = logits.topk(2, dim=0).values
        clear = (best - second).numpy() > 4 * tolerance
        assert label.dtype == np.uint8 and label.shape == probability.shape[1:]
        assert clear.any() and (label == logits.argmax(0).numpy())[clear].all()


def test_indices_of_many_classes_have_room():
    network = random_network(UNetConfig(width=2, depth=1, n_classes=300))
    network.head.bias.data[299] = 100
    [labels] = Predictor(network).predict_tiles([noise(1, 8, 8)], [(slice(0, 8), slice(0, 8))], classes=True)
    assert (labels == 299).all()


@pytest.mark.parametrize("classes", [False, True])
def test_memory_that_is_short_halves_the_batch_and_then_the_tile(classes):
    config = UNetConfig(width=3, depth=1, norm="none")
    greedy = Greedy(config)
    image, predictor = noise(1, 60, 50), Predictor(greedy, precision="fp32")
    blocks, crops = tiles_of(predictor, image, tile=32)
    Greedy.largest, Greedy.most = 10**9, 10**9
    expected = predictor.predict_tiles(blocks, crops, classes=classes)
    predictor.network.seen = []
    Greedy.largest, Greedy.most = 40**2, 1
    results = predictor.predict_tiles(blocks, crops, classes=classes)
    assert [len(batch) for batch in predictor.network.seen[:3]] == [4, 2, 1]
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == wanted.dtype
        np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_a_gpu_predicts_as_many_tiles_at_once_as_fit(monkeypatch):
    monkeypatch.setattr("napari_unet.core.inference.free_memory", lambda device: 2 * 2**30)
    predictor = Predictor(UNet(UNetConfig(width=16, depth=2)), precision="fp32")
    assert predictor.batch_size((64, 64)) == 1
    predictor.device = torch.device("cuda")
    assert predictor.batch_size((64, 64)) > 2 * predictor.batch_size((128, 128)) > 2
    assert predictor.batch_size((10_000, 10_000)) == 1


def test_tiles_are_smaller_where_memory_is_not_reused():
    predictor = Predictor(UNet(UNetConfig(width=64, depth=2)), precision="fp32")
    predictor.reuses_memory = True
    large = predictor.grid((5000, 5000))
    predictor.reuses_memory = False
    small = predictor.grid((5000, 5000))
    assert len(small) > len(large)
    assert 2**24 < np.prod(small.read_shape) * 64 * 4 <= 2**25


@settings(max_examples=20, deadline=None)
@given(cases(), st.data())
def test_logits_of_a_part_are_those_of_the_whole(case, data):
    config, shape, _ = case
    network = random_network(config)
    image = torch.from_numpy(noise(1, config.in_channels, *network.input_shape(shape)))
    with torch.inference_mode():
        whole = network(image)
        parts = [
            sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2, unique=True)))
            for size in whole.shape[2:]
        ]
        keep = tuple(slice(*part) for part in parts)
        np.testing.assert_allclose(network(image, keep), whole[:, :, *keep], atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("auto", 0.1)])
def test_cuda_predicts_what_the_cpu_predicts(precision, tolerance):
    network = random_network(UNetConfig(width=4, depth=2))
    image = 0.3 * noise(1, 60, 50)
    gpu, cpu = Predictor(network, torch.device("cuda"), precision), Predictor(network, precision="fp32")
    np.testing.assert_allclose(predict(gpu, image), predict(cpu, image), atol=tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("shape", [(100, 90), (20, 30, 25)])
def test_cuda_predicts_many_tiles_at_once(shape):
    network = random_network(UNetConfig(ndim=len(shape), width=4, depth=1))
    gpu, cpu = Predictor(network, torch.device("cuda"), "fp32"), Predictor(network, precision="fp32")
    blocks, crops = tiles_of(cpu, 0.3 * noise(1, *shape), tile=16)
    assert len(blocks) > 4
    for fast, slow in zip(
        *(each.predict_tiles(blocks, crops, classes=False) for each in (gpu, cpu)), strict=True
    ):
        np.testing.assert_allclose(fast, slow, atol=1e-3)
    labels = gpu.predict_tiles(blocks, crops, classes=True)
    same = [
        label == slow.argmax(0)
        for label, slow in zip(labels, cpu.predict_tiles(blocks, crops, classes=False), strict=True)
    ]
    assert np.concatenate([each.ravel() for each in same]).mean() > 0.99


@pytest.mark.parametrize("upsample", ["transpose", "linear"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_prepared_network_predicts_what_the_network_does(padding, upsample):
    network = random_network(UNetConfig(width=4, depth=2, padding=padding, upsample=upsample))
    image = torch.from_numpy(noise(2, 1, *network.input_shape((24, 40))))
    prepared = prepare_for_inference(network)
    np.testing.assert_allclose(prepared(image), network(image).detach(), atol=1e-5)
    assert not any(weight.requires_grad for weight in prepared.parameters())
    assert network.decoder[0][0].in_channels == 8, "the network itself is as before"


@settings(max_examples=12, deadline=None)
@given(data=st.data(), shape=st.tuples(st.integers(41, 110), st.integers(41, 110)))
def test_a_part_in_quick_tiles_is_that_of_the_untiled_prediction(data, shape):
    """No seam, wherever the part begins; after each tile others can work."""
    network = random_network(UNetConfig(width=4, depth=2, n_classes=3))
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    starts = [data.draw(st.integers(0, size - 1)) for size in shape]
    stops = [data.draw(st.integers(at + 1, size)) for at, size in zip(starts, shape, strict=True)]
    part = tuple(map(slice, starts, stops))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "QUICK_PIXELS", {2: 40**2})
        patch.setattr(predicting, "QUICK_TILE", {2: 32})
        work = predict_part(Predictor(network, precision="fp32"), image, part)
        n_pieces, done = 0, None
        while done is None:
            done = advance(work)
            n_pieces += 1
    np.testing.assert_allclose(done.result, untiled(network, image)[:, *part], atol=1e-5)
    assert n_pieces == len(
        Predictor(network).grid([b - a // 4 * 4 for a, b in zip(starts, stops, strict=True)], tile=32)
    )


def test_a_region_that_takes_several_tiles_has_no_seams():
    """One stride of mirrored border is enough for one tile only."""
    network = random_network(UNetConfig(width=4, depth=2))
    image = np.random.default_rng(0).normal(size=(1, 90, 70)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "QUICK_PIXELS", {2: 40**2})
        patch.setattr(predicting, "QUICK_TILE", {2: 32})
        found = drain(predict_part(Predictor(network, precision="fp32"), image))
    np.testing.assert_allclose(found, untiled(network, image), atol=1e-5)
