import numpy as np
import pytest
import torch
from tests.support.inversion_worlds import noise, tiny_generator, tiny_inverter

from unseen.core.errors import CheckpointError, DownloadError, SegmenterError, SpecError
from unseen.inversion.perceptual import VGG16, load_perceptual, load_vgg16
from unseen.segmenters import load_segmenter

# torchvision's `features`: number of the convolution, inputs, outputs; M a pooling before it
LAYOUT = [
    (0, 3, 64, ""),
    (2, 64, 64, ""),
    (5, 64, 128, "M"),
    (7, 128, 128, ""),
    (10, 128, 256, "M"),
    (12, 256, 256, ""),
    (14, 256, 256, ""),
    (17, 256, 512, "M"),
    (19, 512, 512, ""),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file in torchvision's layout, with random weights and a few tensors of what follows."""
    rng = np.random.default_rng(0)
    state = {}
    for number, inputs, outputs, _ in LAYOUT:
        scale = np.sqrt(2 / (9 * inputs))
        state[f"features.{number}.weight"] = scale * rng.standard_normal((outputs, inputs, 3, 3))
        state[f"features.{number}.bias"] = 0.1 * rng.standard_normal(outputs)
    state["features.21.bias"] = np.zeros(512)
    state["classifier.6.bias"] = np.zeros(1000)
    tensors = {key: torch.from_numpy(value).float() for key, value in state.items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(tensors, path)
    return path, {key: value.numpy() for key, value in tensors.items()}


def reference(state, images):
    """VGG-16 through relu4_2 in NumPy: a convolution is nine shifted matrix products."""
    x = images.astype(np.float64)
    for number, _, _, pool in LAYOUT:
        if pool:
            n, c, h, w = x.shape
            x = x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))
        weight, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        h, w = x.shape[2:]
        x = bias[None, :, None, None] + sum(
            np.einsum("nchw,dc->ndhw", padded[:, :, i : i + h, j : j + w], weight[:, :, i, j])
            for i in range(3)
            for j in range(3)
        )
        x = np.maximum(x, 0)
    return x


@pytest.mark.parametrize("normalised", [True, False])
def test_vgg_is_the_published_network_through_relu4_2(weights, normalised):
    path, state = weights
    images = noise(2)
    inputs = images.numpy()
    if normalised:
        mean = np.array([0.485, 0.456, 0.406])[:, None, None]
        deviation = np.array([0.229, 0.224, 0.225])[:, None, None]
        inputs = ((inputs + 1) / 2 - mean) / deviation
    found = load_vgg16(path, normalised=normalised)(images).numpy()
    expected = reference(state, inputs)
    assert found.shape == (2, 512, 2, 2)
    # float32 through nine layers against float64
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_vgg_passes_gradients_and_has_no_weights_to_train(weights):
    network = load_vgg16(weights[0])
    images = noise(1).requires_grad_()
    network(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_vgg_reads_no_other_network(tmp_path, weights):
    path = tmp_path / "other.pth"
    state = {key: torch.from_numpy(value) for key, value in weights[1].items()}
    torch.save({**state, "features.19.weight": torch.zeros(8, 8, 3, 3)}, path)
    with pytest.raises(CheckpointError, match=r"features\.19\.weight of shape \(8, 8, 3, 3\)"):
        load_vgg16(path)
    del state["features.5.bias"]
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"features\.5\.bias"):
        load_vgg16(path)


def test_vgg_is_fetched_by_its_hash(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEEN_CACHE", str(tmp_path))
    monkeypatch.setenv("UNSEEN_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"vgg16-397923af\.pth"):
        load_perceptual("vgg16")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16-397923af.pth").write_bytes(weights[0].read_bytes())
    with pytest.raises(DownloadError, match="should begin with 397923af"):
        load_perceptual("vgg16")
    monkeypatch.setattr("unseen.weights.fetch", lambda name: weights[0])
    loaded = load_perceptual("vgg16", normalised=False)
    assert isinstance(loaded.features, VGG16)
    assert loaded.provenance["normalised"] is False
    assert len(loaded.provenance["weights_sha256"]) == 64


def test_the_churchyards_segmenter_shows_its_features_with_gradient():
    loaded = load_perceptual("segmenter", segmenter=load_segmenter("churchyard"))
    images = noise(2, 64).requires_grad_()
    features = loaded.features(images)
    assert features.shape[0] == 2
    features.sum().backward()
    assert images.grad.abs().sum() > 0
    assert loaded.provenance["segmenter"] == "churchyard"


def test_the_inverters_features_are_its_estimates():
    generator = tiny_generator()
    inverter = tiny_inverter(generator)
    images = noise(2)
    estimates = inverter.estimates(images)
    at_cut = load_perceptual("inverter", inverter=inverter)
    assert torch.equal(at_cut.features(images), estimates["layer4"])
    latents = load_perceptual("latents", inverter=inverter)
    assert torch.equal(latents.features(images), estimates["z"])
    assert load_perceptual("none") is None


def test_features_that_cannot_be_had_say_what_is_missing():
    class Plain:
        channels = {"object": ("a",)}  # noqa: RUF012
        resolution = 8
        provenance = {"spec": "python:mine"}  # noqa: RUF012

        def label_maps(self, images, channel="object"):
            return np.zeros((len(images), 8, 8), int)

    with pytest.raises(SegmenterError, match="python:mine shows no features"):
        load_perceptual("segmenter", segmenter=Plain())
    with pytest.raises(SpecError, match="without a segmenter"):
        load_perceptual("segmenter")
    with pytest.raises(SpecError, match="are the inverter's, and there is none"):
        load_perceptual("latents")
    with pytest.raises(SpecError, match="no perceptual features are called 'lpips'"):
        load_perceptual("lpips")
