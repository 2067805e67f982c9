"""Raw images as input: what a byte becomes, and that the engine computes the same of it as the model."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import sparbor
from bench.job.models import cifar10_cnn
from sparbor.errors import ArgumentError, SparborError
from sparbor.lower import parity

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
    runtime = sparbor.deploy(layer, torch.zeros(1, *shape), weights="exact", byte_input=byte_input)
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
        (images(0, 3, 32, 32), "empty batch"),
    ],
)
def test_bytes_that_do_not_fit(runtime, given, text):
    with pytest.raises(ArgumentError, match=text):
        runtime(given)


INTEGERS = ("int32", "int64", "uint16", "int16")


@pytest.mark.parametrize("kind", [*INTEGERS, "float64", "float16", ">f4", ">i4"])
def test_pixel_values_of_another_type_are_for_uint8(runtime, kind):
    given = images(2, 3, 32, 32)
    with pytest.raises(ArgumentError) as caught:
        runtime(x := given.astype(kind))
    said = str(caught.value)
    assert said == (
        f'x is {x.dtype}, and this model takes raw pixel values, 0 to 255, as uint8: pass x.astype("uint8"). It takes '
        'float32 as normalised already: pass x.astype("float32") only if it is'
    )
    np.testing.assert_array_equal(runtime(x.astype("uint8")), runtime(given))


@pytest.mark.parametrize("kind", [torch.int64, torch.float64, torch.bfloat16, torch.int8])
def test_the_same_of_tensors(runtime, kind):
    given = torch.from_numpy(images(2, 3, 32, 32) // 2)  # int8 has no more
    x = given.to(kind)
    with pytest.raises(
        ArgumentError, match=r"x is torch.*as uint8: pass x\.to\(torch\.uint8\)\. .*pass x\.float\(\) only if"
    ):
        runtime(x)
    np.testing.assert_array_equal(runtime(x.to(torch.uint8)), runtime(given if kind != torch.bfloat16 else x.byte()))


def test_black_and_white_images_are_made_of_0_and_255(runtime):
    x = images(2, 3, 32, 32) > 127
    for given, remedy in [
        (x, x.astype("uint8") * 255),
        (torch.from_numpy(x), torch.from_numpy(x).to(torch.uint8) * 255),
    ]:
        with pytest.raises(ArgumentError, match=r"uint8\W+ \* 255\. It takes"):
            runtime(given)
        np.testing.assert_array_equal(runtime(remedy), runtime(np.where(x, 255, 0).astype(np.uint8)))


DOUBT = (
    "x holds float32 from 0 to 255, and this model takes float32 as normalised already: bytes become -1.99 to 2.13 "
    "(mean 0.4914, 0.4822, 0.4465, std 0.247, 0.2435, 0.2616). Pass raw pixel values, 0 to 255, as uint8; the runtime "
    "normalises those"
)


def raw_floats() -> np.ndarray:
    given = images(2, 3, 32, 32).astype(np.float32)
    given.flat[:2] = 0, 255
    return given


@pytest.fixture
def fresh(runtime) -> sparbor.Runtime:
    """One that has been called with nothing yet."""
    return copy.deepcopy(runtime)


@pytest.mark.parametrize("make", [lambda x: x, torch.from_numpy], ids=["array", "tensor"])
def test_raw_pixel_values_as_floats_are_doubted_once(fresh, make):
    fresh(np.zeros((1, 3, 32, 32), np.float32))  # warming up
    x = make(raw_floats())
    with pytest.warns(UserWarning, match="x holds float32 from 0 to 255") as said:
        first = fresh(x)
    assert [str(each.message) for each in said] == [DOUBT]
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(fresh(x), first)


def test_each_runtime_doubts_for_itself(runtime, tmp_path):
    runtime.save(tmp_path / "model.safetensors")
    for _ in range(2):
        with pytest.warns(UserWarning, match="this model takes float32 as normalised already"):
            sparbor.load(tmp_path / "model.safetensors")(raw_floats())
    deployed = sparbor.deploy(nn.Flatten(), torch.zeros(1, 2, 4), byte_input=sparbor.ByteInput())
    with pytest.warns(UserWarning, match=r"from 0 to 200, .* bytes become 0 to 1 \(mean 0, std 1\)"):
        deployed(np.linspace(0, 200, 8, dtype=np.float32).reshape(1, 2, 4))


@pytest.mark.parametrize("byte_input", [CIFAR, sparbor.ByteInput(), sparbor.ByteInput(0.1307, 0.3081)])
def test_images_that_are_normalised_augmented_or_noise_are_not_doubted(byte_input):
    """Nor the example, whatever it holds: it says what shape an item has."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime = sparbor.deploy(nn.ReLU(), 255 * torch.rand(2, 3, 32, 32), byte_input=byte_input)
        x = normalised(images(8, 3, 32, 32), byte_input)
        noise = np.random.default_rng(0).standard_normal((100, 3, 32, 32)).astype(np.float32)
        for given in (x, 2 * x, -x, noise, np.full_like(x, np.nan)):
            runtime(given)


def test_looking_ends_after_a_few_calls(fresh):
    """From then on plain arrays go to the engine directly, and answers stay what they were."""
    x = normalised(images(2, 3, 32, 32), CIFAR)
    answers = [fresh(x) for _ in range(20)]
    assert all(np.array_equal(each, answers[0]) for each in answers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh(raw_floats())


def test_a_runtime_says_what_it_takes(runtime):
    takes = (
        "takes uint8, normalised with mean 0.4914, 0.4822, 0.4465, std 0.247, 0.2435, 0.2616, or float32 that is "
        "normalised already)"
    )
    assert repr(runtime).endswith(takes)
    assert "takes" not in repr(sparbor.deploy(nn.Linear(8, 8), torch.zeros(1, 8)))


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
    """Here PyTorch computes with another normalisation than the engine."""
    normalised = parity._normalised
    monkeypatch.setattr(parity, "_normalised", lambda given, byte_input: 1.02 * normalised(given, byte_input))
    with pytest.raises(SparborError, match="answer to random bytes differs"):
        sparbor.deploy(nn.Linear(8, 8), torch.randn(1, 8), byte_input=sparbor.ByteInput())
