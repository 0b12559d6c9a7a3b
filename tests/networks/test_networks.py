"""Backbones: shapes, the networks of the papers, and options that are not there."""

import pytest
import torch
from torch import nn

from lib import networks

# A tagger, which reads indices of words and gives a row for each word, has its own tests (datasets/test_kinds.py).
EVERY = [name for name in networks.names() if name != "tagger"]
# Small inputs that each of them takes.
SHAPES = {"lenet": (1, 28, 28), "lenet-bn": (3, 12, 12), "dogs-vs-cats": (3, 46, 46)}
SHAPES |= dict.fromkeys(("resnet9", "resnet18", "resnet34"), (3, 16, 16))


@pytest.mark.parametrize("name", EVERY)
def test_features_then_head_and_every_weight_gets_a_gradient(name):
    shape = SHAPES.get(name, (6,))
    torch.manual_seed(1)
    backbone = networks.build(name, shape, 4)
    x = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    backbone(x).square().sum().backward()
    trained = [value for value in backbone.parameters() if value.requires_grad]  # a scale may be fixed by design
    assert all(value.grad is not None and value.grad.any() for value in trained)
    features = backbone.eval().features(x)
    assert features.shape == (8, backbone.n_features)
    assert torch.equal(backbone(x), backbone.head(features))
    assert backbone(x[:1]).shape == (1, 4)
    assert (backbone.n_classes, backbone.x_shape) == (4, shape)
    for seed in (1, 2):  # weights come from the global generator
        torch.manual_seed(seed)
        other = networks.build(name, shape, 4)
        assert torch.equal(other.head.weight, backbone.head.weight) == (seed == 1)
    with pytest.raises(ValueError, match=f"unknown option of backbone '{name}': 'widht'.* Known: "):
        networks.build(name, shape, 4, widht=3)


def test_linear_is_logistic_regression():
    backbone = networks.build("linear", (2, 3), 4)
    assert weights(backbone) == 6 * 4 + 4
    x = torch.randn(5, 2, 3)
    assert torch.equal(backbone(x), x.flatten(1) @ backbone.head.weight.T + backbone.head.bias)


def test_mlp_is_the_labelme_network():
    backbone = networks.build("mlp", (512,), 8)
    assert [type(layer) for layer in backbone.trunk] == [nn.Flatten, nn.Linear, nn.ReLU, nn.Dropout]
    assert (backbone.trunk[1].in_features, backbone.n_features, backbone.trunk[3].p) == (512, 128, 0.5)
    small = networks.build("mlp", (512,), 8, width=16, dropout=0.25)
    assert (small.n_features, small.trunk[3].p) == (16, 0.25)


def test_mlp_norm_is_the_music_network():
    backbone = networks.build("mlp-norm", (124,), 10)
    norms = [layer for layer in backbone.trunk if isinstance(layer, nn.BatchNorm1d)]
    assert [layer.num_features for layer in norms] == [124, 128]
    assert not any(layer.affine for layer in norms)
    features = backbone.features(3 + 2 * torch.randn(256, 124, generator=torch.Generator().manual_seed(0)))
    assert features.mean(dim=0).abs().max() < 1e-4
    assert (features.std(dim=0, unbiased=False) - 1).abs().max() < 1e-2


def test_unknown_backbones_and_the_options_of_known_ones():
    assert networks.defaults("mlp") == {"width": 128, "dropout": 0.5}
    assert networks.defaults("linear") == {}
    with pytest.raises(ValueError, match="unknown backbone 'mpl'; did you mean 'mlp'"):
        networks.build("mpl", (6,), 4)


# ---------------------------------------------------------------------- images as bytes


def test_bytes_are_normalized_by_channel():
    images = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)  # one image, two channels, 1 x 2
    backbone = networks.build("linear", (2, 1, 2), 3, normalize=((0.5, 0.2), (0.25, 0.1)))
    expected = torch.tensor([[[[-2.0, 2.0]], [[0.0, 2.0]]]])
    torch.testing.assert_close(backbone.inputs(images), expected)
    torch.testing.assert_close(backbone(images), backbone(expected))
    assert backbone.inputs(expected) is expected  # features are not touched
    assert backbone.double().inputs(images).dtype == torch.float64
    assert "_scale" not in backbone.state_dict()
    with pytest.raises(ValueError, match="the inputs are bytes: build the backbone with normalize"):
        networks.build("linear", (2, 1, 2), 3)(images)


# ---------------------------------------------------------------------- networks on images


def weights(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(
    ("name", "x_shape", "expected"),
    [
        ("lenet", (1, 28, 28), 61_706),  # LeNet-5
        ("resnet9", (3, 32, 32), 6_575_370),
        ("resnet18", (3, 32, 32), 11_173_962),  # the number given for CIFAR everywhere
        ("resnet34", (3, 32, 32), 21_282_122),
        ("dogs-vs-cats", (3, 150, 150), 468_458),  # of which 7 x 7 x 64 x 128, as the released notebook prints
    ],
)
def test_number_of_weights(name, x_shape, expected):
    assert weights(networks.build(name, x_shape, 10)) == expected


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_residual_networks_are_torchvisions_with_another_stem(name):
    models = pytest.importorskip("torchvision").models
    theirs = getattr(models, name)(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    theirs.maxpool = nn.Identity()
    ours = networks.build(name, (3, 32, 32), 10)
    block = ours.trunk[3]  # starts as theirs
    assert float(block.conv1.weight.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert block.bn1.weight.eq(1).all()
    pairs = list(zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True))
    assert all(value.shape == other.shape for (_, value), other in pairs)
    ours.load_state_dict({key: other for (key, _), other in pairs})
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
        torch.testing.assert_close(ours.train()(x), theirs.train()(x))


def test_the_stem_of_ccc_makes_smaller_maps():
    x = torch.randn(1, 3, 32, 32)
    stems = [networks.build("resnet18", (3, 32, 32), 10, padding=padding).trunk[0](x) for padding in (0, 1)]
    assert [tuple(stem.shape[2:]) for stem in stems] == [(30, 30), (32, 32)]


@pytest.mark.parametrize(("name", "x_shape"), [("resnet9", (1, 28, 28)), ("dogs-vs-cats", (3, 150, 150))])
def test_images_of_another_size(name, x_shape):
    assert networks.build(name, x_shape, 3).eval()(torch.randn(2, *x_shape)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "x_shape"), [("lenet", (8, 8)), ("resnet18", (3, 8, 8)), ("dogs-vs-cats", (3, 45, 46)), ("lenet", (784,))]
)
def test_what_is_no_image_or_too_small(name, x_shape):
    with pytest.raises(ValueError, match=r"needs images of \(channels, height, width\)"):
        networks.build(name, x_shape, 10)
