"""The engine: precision and layout, images as bytes in the training loop, determinism, and the end of memory."""

import gc
import os
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from lib import methods, simulation
from lib.datasets.kinds import CrowdDataset
from lib.losses import crowd as losses
from lib.methods.base import Method
from lib.networks.predict import predict
from lib.training import device, scoring
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.worked_example import make

CPU = torch.device("cpu")
NORMALIZE = ((0.5,), (0.25,))


def toy(items=40, **changes) -> CrowdDataset:
    """Bright squares on the left or on the right, as bytes, and a plain crowd."""
    rng = np.random.default_rng(0)
    y = np.arange(items) % 2
    x = rng.integers(0, 80, (items, 1, 12, 12), dtype=np.uint8)
    for item, side in enumerate(y):
        x[item, :, 4:8, 2 + 5 * side : 5 + 5 * side] += 150
    made = simulation.build("plain", y, 2, 0, annotators=4, accuracy=0.9)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    fields = {"x": x, "y": y, "x_test": x, "y_test": y, "crowd": made.crowd, "true_confusion": made.confusion}
    return CrowdDataset("toy", "Toy", **fields, class_names=("left", "right"), normalize=NORMALIZE, **changes)


DATA = toy()


def build(name="crowdlayer-mw", network="lenet", data=DATA, **options):
    return make(name, data, network, **options)


# ---------------------------------------------------------------------- images as bytes


def test_augmentation_is_part_of_the_seed_and_of_training_alone():
    seen = []

    class Watching(Method):
        def loss(self, batch):
            seen.append(batch.x)
            return self.backbone(batch.x).square().mean()

    def losses(seed, **changes):
        method = Watching(lambda: build().backbone, DATA.crowd)
        return fit(method, DATA, Recipe(epochs=1, batch_size=8, **changes), seed=seed).history["loss"]

    assert losses(1, crop=2, flip=True) == losses(1, crop=2, flip=True)
    assert losses(1, crop=2) != losses(1, crop=2, flip=True) != losses(1)
    assert {x.dtype for x in seen} == {torch.uint8}


class WithoutFloat64(TorchFunctionMode):
    """A device on which nothing becomes float64, as Apple's GPUs: only what has come from it by ``cpu()`` may."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function is torch.Tensor.cpu:
            result = result.view_as(result)  # on a processor it is the tensor itself
            result.here = True
        elif isinstance(result, torch.Tensor):
            given = [value for value in args if isinstance(value, torch.Tensor)]
            result.here = any(getattr(value, "here", False) or value.dtype == torch.float64 for value in given)
            made = function in (torch.as_tensor, torch.tensor) and kwargs.get("device") is not None
            moved = made or (function is torch.Tensor.to and torch.device("cpu") in args[1:])
            assert result.dtype != torch.float64 or not (moved or (given and not result.here)), f"{function} makes float64"
        return result


@pytest.mark.parametrize("name", methods.names("classification"))
def test_every_method_trains_on_bytes_without_float64_as_on_the_same_floats(name, monkeypatch):
    monkeypatch.setattr(losses, "WITHOUT_FLOAT64", ("cpu",))
    options = {"ccc": {"warmup": 1, "groups": 2, "per_class": 4}}.get(name, {})
    recipe = Recipe(epochs=2, batch_size=16, lr=1e-3)
    method = build(name, **options)
    with WithoutFloat64():
        history = fit(method, DATA, recipe).history
        scoring.summary(method, DATA, history)
    floats = replace(DATA, x=(DATA.x / 255 - 0.5) / 0.25, x_test=(DATA.x_test / 255 - 0.5) / 0.25, normalize=None)
    expected = fit(build(name, data=floats, **options), floats, recipe).history
    assert_close(history["loss"], expected["loss"], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- precision, layout, compilation, determinism


CUDA = types.SimpleNamespace(type="cuda")  # as far as `adapt` looks


def test_a_cpu_in_float32_changes_the_layout_alone():
    method = build()
    before = method.backbone(DATA.x)
    device.adapt(method, CPU, "float32", compiled=True)
    assert (method.backbone.half, method.backbone.channels_last) == (False, True)
    assert_close(method.backbone(DATA.x), before)
    assert method.backbone.trunk._compiled_call_impl is None  # compiling takes effect on CUDA alone
    plain = build(network="mlp")
    device.adapt(plain, CPU)
    assert not plain.backbone.channels_last


def test_a_cpu_computes_the_trunk_in_bfloat16_where_it_is_asked_to():
    method = build()
    before = method.backbone(DATA.x)
    device.adapt(method, CPU, "mixed")
    after = method.backbone(DATA.x)
    assert after.dtype == method.backbone.trunk[0].weight.dtype == torch.float32
    assert 0 < (after - before).abs().max() < 0.05 * before.abs().max()


def test_cuda_takes_images_channels_last_and_mixed_precision_in_half():
    method = build("ensemble", "lenet-bn")
    device.adapt(method, CUDA, "mixed")
    for member in method.members:
        assert (member.backbone.half, member.backbone.channels_last) == (True, True)
        assert member.backbone.trunk[0].weight.dtype == torch.float32
        assert member.backbone.trunk[4].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("gradient", ["full", "head"])
def test_ccc_corrects_alike_in_half_precision(gradient, monkeypatch):
    """What a bfloat16 trunk computes has three digits; the crowd's part stays in float32, so the correction keeps its sign
    and size."""
    recipe, found = Recipe(epochs=2, batch_size=20, lr=1e-2), []
    for half in (False, True):
        method = build("ccc", "lenet-bn", gradient=gradient, warmup=1, groups=2, per_class=6)
        for member in method.members:
            member.backbone.half = member.backbone.channels_last = half
        corrections, inner = [], method.correction
        method.correction = lambda *given, inner=inner, corrections=corrections: (
            corrections.append(inner(*given)) or corrections[-1]
        )
        fit(method, DATA, recipe)
        found.append(torch.stack(corrections))
    assert found[0].dtype == found[1].dtype == torch.float32
    assert found[1].abs().max() > 0
    cosine = torch.nn.functional.cosine_similarity(found[0][0].flatten(), found[1][0].flatten(), dim=0)
    assert cosine > 0.9


@pytest.mark.parametrize(("gradient", "expected"), [("head", True), ("full", False)])
def test_only_what_nobody_looks_into_is_compiled(gradient, expected, monkeypatch):
    monkeypatch.setattr(device, "COMPILER", "eager")
    method = build("ccc", gradient=gradient, groups=2)
    device.adapt(method, CUDA, compiled=True)
    assert {member.backbone.trunk._compiled_call_impl is not None for member in method.members} == {expected}


def test_a_compiled_trunk_computes_the_same(monkeypatch):
    monkeypatch.setattr(device, "COMPILER", "eager")  # traced, but not turned into machine code, which takes long
    plain, compiled = build(network="lenet-bn"), build(network="lenet-bn")
    device.adapt(compiled, CUDA, compiled=True)
    assert list(plain.state_dict()) == list(compiled.state_dict())
    recipe = Recipe(epochs=2, batch_size=16, lr=1e-3)
    assert_close(fit(plain, DATA, recipe).history, fit(compiled, DATA, recipe).history)
    torch._dynamo.reset()


def test_cuda_settings_are_left_as_they_were(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = (torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory)
    with device.deterministic(CPU):  # needs no settings
        assert not torch.are_deterministic_algorithms_enabled()
    with device.deterministic(CUDA):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert (torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory) == before


# ---------------------------------------------------------------------- when memory ends


@pytest.fixture
def nothing_to_collect(monkeypatch):
    """A collection of garbage takes long in a process of many tests."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


class Greedy(Method):
    """Fits so many items in a step, and so many in evaluation."""

    def __init__(self, fits, evaluates=10_000):
        super().__init__(lambda: build().backbone, DATA.crowd)
        self.fits, self.evaluates, self.seen = fits, evaluates, []

    def loss(self, batch):
        if len(batch.x) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        kept = DATA.crowd.select_items(batch.items.numpy())  # a smaller batch has its own labels, and all of them
        assert sorted(zip(batch.position.tolist(), batch.annotator.tolist(), batch.label.tolist(), strict=True)) == sorted(
            zip(kept.item.tolist(), kept.annotator.tolist(), kept.label.tolist(), strict=True)
        )
        return self.backbone(batch.x).square().mean()

    def predict_proba(self, x):
        if len(x) > self.evaluates:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory")
        self.seen.append(len(x))
        return super().predict_proba(x)


@pytest.mark.parametrize(("fits", "advice"), [(9, "a step with 8 items fits: use batch_size=8"), (1, "not even a step with 2")])
def test_the_end_of_memory_names_a_batch_size_that_fits(fits, advice, nothing_to_collect):
    with pytest.raises(device.OutOfMemory, match=f"with 32 items needs more memory than this machine has; {advice}"):
        fit(Greedy(fits), DATA, Recipe(epochs=1, batch_size=32))


def test_other_errors_are_passed_on(monkeypatch):
    monkeypatch.setattr(Greedy, "loss", lambda self, batch: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        fit(Greedy(100), DATA, Recipe(epochs=1, batch_size=32))


def test_evaluation_goes_on_in_smaller_batches(nothing_to_collect):
    method = Greedy(100, evaluates=11)
    fit(method, DATA, Recipe(epochs=1, batch_size=32))
    assert max(method.seen) <= 11
    assert sum(method.seen) == len(DATA.x_test)
    method.evaluates = 0
    with pytest.raises(RuntimeError, match="not enough memory"):
        predict(method.predict_proba, DATA.x, method)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["crowdlayer-mw", "ccc", "conal", "geocrowdnet-f"])
def test_the_same_seed_gives_the_same_numbers_on_cuda(name):
    options = {"warmup": 1, "groups": 2, "per_class": 4, "gradient": "head"} if name == "ccc" else {}
    recipe = Recipe(epochs=3, batch_size=8, lr=1e-2, crop=1, precision="mixed")
    first, again = (fit(build(name, "lenet-bn", **options), DATA, recipe, device="cuda").history for _ in range(2))
    assert first == again
