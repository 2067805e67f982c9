"""8-bit layers in exported C code and in ONNX files: whole numbers that equal NumPy's, answers as the engine's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import sparbor
from sparbor.engine.runtime import Runtime
from sparbor.export.c.target import export_c
from sparbor.export.onnx.target import to_onnx
from sparbor.packing.dense_weights import DenseLayer, pack_dense
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.slots import Encoding, pack
from sparbor.program.program import Activation, ElmanRecurrence, Operation, Program, Recurrence, Slice
from sparbor.recipe.pattern import Slots
from tests.c_programs import MACHINES, Compiled, build, scores
from tests.layers import mlp, random_mask, random_weight
from tests.rows_of_bytes import expected, one_layer
from tests.test_int8 import quad_mask, some_layer
from tests.test_int8_deploy import perceptron, trained

LEVELS = 255  # of C code, as of the portable kernels
TOLERANCE = 1e-5  # of the largest output


@pytest.fixture(autouse=True)
def _portable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARBOR_ISA", "portable")


def rows_of_all_ranges(fan_in: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    some, none = rng.standard_normal((1, fan_in)), np.zeros((1, fan_in))
    halves = np.linspace(0, LEVELS, fan_in)[None].round(1) // 0.5 * 0.5  # between two bytes
    rows = [none, none + 3, none - 3, some, abs(some), -abs(some), some * 1e-30, some * 1e-42, some * 1e37, halves]
    return np.concatenate(rows).astype(np.float32)


@pytest.mark.parametrize("flags", ["-O1", "-O3"])
@pytest.mark.parametrize(("outputs", "fan_in"), [(1, 1), (17, 65), (50, 200)])
def test_sums_in_c_equal_whole_numbers(outputs: int, fan_in: int, flags: str, tmp_path: Path) -> None:
    """To the last bit, and with masks that leave padding."""
    rng = np.random.default_rng(fan_in)
    weight, x = random_weight(rng, outputs, fan_in), rows_of_all_ranges(fan_in)
    masks = [quad_mask(rng, outputs, fan_in, 0.3), random_mask(rng, outputs, fan_in, 0.2), np.ones(weight.shape, bool)]
    for number, mask in enumerate(masks):
        layer = pack_quads(weight, mask)
        compiled = Compiled(one_layer(layer), tmp_path / str(number), flags)
        np.testing.assert_array_equal(compiled(x), expected(layer, x, LEVELS))


@pytest.mark.parametrize(("outputs", "fan_in"), [(1, 1), (17, 65)])
def test_sums_of_dense_layers_in_c_equal_whole_numbers(outputs: int, fan_in: int, tmp_path: Path) -> None:
    layer = pack_dense(random_weight(np.random.default_rng(0), outputs, fan_in), None, Encoding.INT8)
    x = rows_of_all_ranges(fan_in)
    np.testing.assert_array_equal(Compiled(one_layer(layer), tmp_path)(x), expected(layer, x, LEVELS))


def test_the_largest_sums_in_c(tmp_path: Path) -> None:
    """Weights and inputs that are the largest there are, of all signs."""
    rng = np.random.default_rng(0)
    layer = pack_quads(rng.choice([-1.0, 1.0], (16, 256)).astype(np.float32), np.ones((16, 256), bool))
    x = np.concatenate([layer.weights.reshape(-1, 256)[:2], np.ones((1, 256)), -np.ones((1, 256))]).astype(np.float32)
    np.testing.assert_array_equal(Compiled(one_layer(layer), tmp_path)(x), expected(layer, x, LEVELS))


def test_rows_that_are_not_finite_are_nan_in_c_and_others_are_not(tmp_path: Path) -> None:
    layer = some_layer(20, 100)
    x = np.random.default_rng(2).standard_normal((6, 100)).astype(np.float32)
    x[1, 0], x[2, 99], x[3, 50], x[4, 3] = np.nan, np.nan, np.inf, -np.inf
    x[5, 0], x[5, 1] = 3e38, -3e38  # whose difference is infinite
    y = Compiled(one_layer(layer), tmp_path)(x)
    assert np.isnan(y[1:]).all()
    np.testing.assert_array_equal(y[:1], expected(layer, x[:1], LEVELS))


def test_items_of_several_rows_in_c(tmp_path: Path) -> None:
    """Each row has a range of its own; a bias and an activation end the sums."""
    rng = np.random.default_rng(3)
    bias = rng.standard_normal(33).astype(np.float32)
    layer = dataclasses.replace(some_layer(33, 90), bias=bias)
    x = (rng.standard_normal((2, 5, 90)) * 10.0 ** np.arange(5)[:, None]).astype(np.float32)
    operation = Operation("linear", (0,), 1, "fc", Activation("relu"))
    program = Program.of_items(((5, 90), (5, 33)), 0, 1, (operation,), {"fc": layer})
    y = np.maximum(expected(layer, x.reshape(10, 90), LEVELS) + bias, 0).reshape(2, 5, 33)
    np.testing.assert_allclose(Compiled(program, tmp_path)(x), y, rtol=1e-6)


def test_a_deployed_model_in_c(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 200)
    runtime = sparbor.deploy(trained(perceptron, x, Slots(branch=64)), x[:1], weights="int8")
    assert {layer.weights for layer in runtime.describe()} == {"int8"}
    compiled = Compiled(runtime.program, tmp_path)
    wanted = runtime(x.numpy())
    np.testing.assert_allclose(compiled(x.numpy()), wanted, atol=1e-5 * np.abs(wanted).max())
    widest = max(layer.fan_in for layer in runtime.program.layers.values() if isinstance(layer, QuadLayer))
    assert f"static uint8_t scratch[{widest}];" in (tmp_path / "model.c").read_text()


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_8_bits_on_other_machines(machine: str, tmp_path: Path) -> None:
    program = mlp((100, 64, 33), 0.3, Encoding.INT8)
    export_c(program, tmp_path)
    command = build(tmp_path, machine)
    x = np.random.default_rng(0).standard_normal((1, 100)).astype(np.float32)
    (tmp_path / "image").write_bytes(x.tobytes())
    wanted = Runtime(program)(x)[0]
    assert np.abs(scores(command, tmp_path / "image")[0] - wanted).max() <= 1e-5 * np.abs(wanted).max()


def with_float_weights(program: Program) -> Program:
    """What ONNX is to compute: the same weights, and inputs that are not rounded."""
    layers = {
        name: pack(*layer.unpack(), layer.bias, Encoding.EXACT)
        for name, layer in program.layers.items()
        if isinstance(layer, QuadLayer | DenseLayer)
    }
    return dataclasses.replace(program, layers=layers)


def assert_onnx_answers(program: Program, run: Any) -> None:
    model = to_onnx(program)
    initializers = {each.name: each.data_type for each in model.graph.initializer}
    int8 = onnx.TensorProto.INT8
    assert list(initializers.values()).count(int8) == len(program.layers)
    engine = Runtime(with_float_weights(program))
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, *engine.input_shape)).astype(np.float32)
        wanted, data = engine(x), model.SerializeToString()
        np.testing.assert_allclose(run(data, x, False), wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())
        np.testing.assert_allclose(run(data, x, True), wanted, rtol=0, atol=0.03 * np.abs(wanted).max())


def in_onnxruntime(model: bytes, x: np.ndarray, rounded: bool) -> np.ndarray:
    """As it is by itself, which may round the inputs to 8 bits, or so that it does not."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not rounded:
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(["output"], {"input": x})[0]
    return answer


def in_openvino(model: bytes, x: np.ndarray, rounded: bool) -> np.ndarray:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed here")
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    if not rounded:
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
    answer: np.ndarray = core.compile_model(core.read_model(model), "CPU", settings)({"input": x})["output"]
    return answer


RUNTIMES = pytest.mark.parametrize("run", [in_onnxruntime, in_openvino])


@RUNTIMES
def test_linear_layers_in_onnx(run: Any) -> None:
    assert_onnx_answers(mlp((100, 64, 33), 0.3, Encoding.INT8), run)
    layer = some_layer(33, 90)
    operation = Operation("linear", (0,), 1, "fc", Activation("relu"))
    assert_onnx_answers(Program.of_items(((5, 90), (5, 33)), 0, 1, (operation,), {"fc": layer}), run)


@RUNTIMES
def test_dense_layers_in_onnx(run: Any) -> None:
    rng = np.random.default_rng(4)
    bias = rng.standard_normal(33).astype(np.float32)
    assert_onnx_answers(one_layer(pack_dense(random_weight(rng, 33, 90), bias, Encoding.INT8)), run)


@RUNTIMES
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_recurrent_layers_in_onnx(kind: str, run: Any) -> None:
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    settings = ElmanRecurrence(True, False) if kind == "rnn" else Recurrence(False)
    rng = np.random.default_rng(6)
    layers = {"inputs": some_layer(gates * 24, 40), "states": some_layer(gates * 24, 24, seed=1)}
    layers["inputs"] = dataclasses.replace(layers["inputs"], bias=rng.standard_normal(gates * 24).astype(np.float32))
    operations = (
        Operation("linear", (0,), 1, "inputs"),
        Operation(kind, (1,), 2, "states", settings=settings),
        Operation("slice", (2,), 3, settings=Slice(2, 0, 1)),  # an LSTM's outputs, without what its cells remember
    )
    shapes = ((6, 40), (6, gates * 24), (6, 48 if kind == "lstm" else 24), (6, 24))
    assert_onnx_answers(Program.of_items(shapes, 0, 3, operations, layers), run)


def test_an_onnx_file_of_8_bits_has_a_byte_for_each_weight() -> None:
    program = mlp((200, 300, 100), 0.3, Encoding.INT8)
    size = len(to_onnx(program).SerializeToString())
    assert 200 * 300 + 300 * 100 < size < 1.1 * (200 * 300 + 300 * 100)
