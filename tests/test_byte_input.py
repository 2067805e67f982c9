"""Raw images as input: what a byte becomes, and that the engine computes the same of it as the model."""

import numpy as np
import pytest
import torch
from torch import nn

import sparbor
from sparbor.benchmark.models import cifar10_cnn
from sparbor.errors import ArgumentError, SparborError

CIFAR = sparbor.ByteInput(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def normalised(given: np.ndarray, byte_input: sparbor.ByteInput) -> np.ndarray:
    channels = (-1, *[1] * (given.ndim - 2))
    mean, std = (np.array(each).reshape(channels) for each in (byte_input.mean, byte_input.std))
    return ((given / 255 - mean) / std).astype(np.float32)


@pytest.fixture(scope="module")
def runtime() -> sparbor.Runtime:
    torch.manual_seed(0)
    return sparbor.deploy(cifar10_cnn(), torch.randn(1, 3, 32, 32), byte_input=CIFAR)


@pytest.mark.parametrize("batch", [1, 5])
def test_bytes_are_normalised_as_for_the_model(runtime, batch):
    given = images(batch, 3, 32, 32)
    wanted = runtime(normalised(given, CIFAR))
    np.testing.assert_allclose(runtime(given), wanted, rtol=1e-4, atol=1e-5)
    assert isinstance(runtime(torch.from_numpy(given)), torch.Tensor)
    np.testing.assert_array_equal(runtime(torch.from_numpy(given)).numpy(), runtime(given))
    out = np.full((batch, 10), np.nan, np.float32)
    assert runtime(given, out=out) is out
    np.testing.assert_array_equal(out, runtime(given))


@pytest.mark.parametrize(
    ("layer", "shape", "byte_input"),
    [
        (nn.Flatten(), (28, 28), sparbor.ByteInput(0.1307, 0.3081)),
        (nn.Linear(40, 24), (40,), sparbor.ByteInput()),
        (nn.Conv1d(2, 16, 3), (2, 50), sparbor.ByteInput([0.5, 0.4])),
        (nn.ReLU(), (3, 7, 5), sparbor.ByteInput(std=(0.5, 0.25, 2))),
    ],
)
def test_shapes_and_defaults(layer, shape, byte_input, tmp_path):
    torch.manual_seed(0)
    runtime = sparbor.deploy(layer, torch.zeros(1, *shape), precision="f32", byte_input=byte_input)
    given = images(3, *shape)
    wanted = layer(torch.from_numpy(normalised(given, byte_input))).detach().numpy()
    np.testing.assert_allclose(runtime(given), wanted, rtol=1e-5, atol=1e-5)
    runtime.save(tmp_path / "model.safetensors")
    loaded = sparbor.load(tmp_path / "model.safetensors")
    assert loaded.program.byte_input == byte_input
    np.testing.assert_array_equal(loaded(given), runtime(given))


def test_every_byte_is_right():
    runtime = sparbor.deploy(nn.Identity(), torch.zeros(1, 256), byte_input=sparbor.ByteInput(0.5, 0.25))
    given = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_allclose(runtime(given), (given / 255 - 0.5) / 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (images(1, 3, 32, 31), r"x has shape \(1, 3, 32, 31\): this model's is \(batch, 3, 32, 32\)"),
        (images(1, 32, 32, 3), "x has shape"),
        (images(1, 3, 32, 64)[:, :, :, ::2], "x is not contiguous"),
        (images(1, 3, 32, 32).astype(np.int8), r"x is int8: .*float32.*uint8"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int16), r"x is torch.int16: .*float32.*uint8"),
        (images(0, 3, 32, 32), "empty batch"),
    ],
)
def test_bytes_that_do_not_fit(runtime, given, text):
    with pytest.raises(ArgumentError, match=text):
        runtime(given)


def test_results_are_never_bytes(runtime):
    with pytest.raises(ArgumentError, match="out is uint8"):
        runtime(images(1, 3, 32, 32), out=np.zeros((1, 10), np.uint8))


@pytest.mark.parametrize("given", [images(1, 8), torch.from_numpy(images(1, 8))], ids=["array", "tensor"])
def test_a_model_that_was_not_told_how_takes_no_bytes(given):
    runtime = sparbor.deploy(nn.Linear(8, 8), torch.zeros(1, 8))
    with pytest.raises(ArgumentError, match=r"x is (torch\.)?uint8.*byte_input=sparbor.ByteInput\(mean, std\)"):
        runtime(given)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"mean": float("nan")}, "mean=nan: it must be a finite number"),
        ({"mean": "grey"}, "mean='grey'"),
        ({"mean": ()}, r"mean=\(\)"),
        ({"std": 0}, "std=0: each must be positive"),
        ({"std": (1, -1)}, "each must be positive"),
        ({"std": float("inf")}, "std=inf"),
        ({"mean": (0, 0), "std": (1, 1, 1)}, "mean has 2 numbers and std 3"),
    ],
)
def test_bad_normalisations_are_named(arguments, text):
    with pytest.raises(ArgumentError, match=text):
        sparbor.ByteInput(**arguments)


@pytest.mark.parametrize(
    ("byte_input", "text"),
    [
        ((0.5, 0.5), r"byte_input is a tuple: pass sparbor.ByteInput\(mean, std\)"),
        (sparbor.ByteInput((0.5, 0.5)), r"byte_input has 2 channels, and the example items of shape \(3, 32, 32\)"),
    ],
)
def test_a_normalisation_that_does_not_fit_the_example(byte_input, text):
    with pytest.raises(ArgumentError, match=text):
        sparbor.deploy(cifar10_cnn(), torch.zeros(1, 3, 32, 32), byte_input=byte_input)


def test_answers_to_bytes_are_compared_too(monkeypatch):
    monkeypatch.setattr(
        sparbor.ByteInput, "scale_and_shift", lambda _: (np.full(1, 0.004, np.float32), np.zeros(1, np.float32))
    )
    with pytest.raises(SparborError, match="answer to random bytes differs"):
        sparbor.deploy(nn.Linear(8, 8), torch.randn(1, 8), byte_input=sparbor.ByteInput())
