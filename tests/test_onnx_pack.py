"""ONNX files packed for ONNX Runtime: layers of every form are found, answer as before, and everything else stays."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import sparbor
import sparbor.onnxruntime
from sparbor.cli.program import main
from sparbor.errors import ArgumentError
from sparbor.export.onnx.target import to_onnx
from sparbor.onnx import Packed, pack
from sparbor.program.model_file import to_bytes
from tests.kernel_sets import BYTE_DOTS
from tests.networks import EXPORTED, NETWORKS, settled
from tests.test_program import PROGRAMS

LIBRARY = sparbor.onnxruntime.missing()
pytestmark = pytest.mark.skipif(LIBRARY is not None, reason=str(LIBRARY))
ALIKE = 1e-5  # of the largest answer, with exact weights

Arrays = Mapping[str, np.ndarray]


def session(model: onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(sparbor.onnxruntime.library_path())
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def sparse(*shape: int, seed: int = 0, density: float = 0.1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) * (random.random(shape) < density)).astype(np.float32)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: Arrays,
    x: Sequence[Any] = ("rows", 64),
    kind: int = TensorProto.FLOAT,
    opset: int = 17,
    **more: Any,
) -> onnx.ModelProto:
    """From one input "x" to one output "y"."""
    ports = [helper.make_tensor_value_info(name, kind, shape) for name, shape in (("x", x), ("y", [None] * len(x)))]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "graph", ports[:1], ports[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def check(model: onnx.ModelProto, x: np.ndarray, weights: str = "exact", within: float = ALIKE) -> Packed:
    """Pack, and compare the answers to one input."""
    packed = pack(model, weights, inputs={"x": x})
    onnx.checker.check_model(packed.model)
    assert isinstance(packed.difference, float)
    assert packed.difference <= within
    original = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected, found = original.run(None, {"x": x})[0], session(packed.model).run(None, {"x": x})[0]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= within * np.abs(expected).max()
    return packed


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"], "layer")


@pytest.mark.parametrize(("weights", "within"), [("exact", ALIKE), ("word16", 0.01), ("int8", 0.02)])
@pytest.mark.parametrize("shape", [(64,), (1, 64), (5, 64), (2, 3, 64), (2, 1, 3, 64)])
def test_a_product_over_any_dimensions(shape: tuple[int, ...], weights: str, within: float) -> None:
    model = model_of([PRODUCT], {"w": sparse(64, 96)}, x=[None] * len(shape[:-1]) + [64])
    packed = check(model, normal(*shape), weights, within)
    assert kinds(packed.model) == ["SparseLinear"]
    assert [each.name for each in packed.model.graph.initializer] == ["sparbor/0/layer"]
    assert packed.rows[0].bytes_after < packed.rows[0].bytes_before / 2


def test_of_no_rows_there_is_none() -> None:
    packed = pack(model_of([PRODUCT], {"w": sparse(64, 96)}))
    assert session(packed.model).run(None, {"x": np.zeros((0, 64), np.float32)})[0].shape == (0, 96)


@pytest.mark.parametrize("settings_", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 3.0}, {"transB": 1, "beta": 0.0}])
@pytest.mark.parametrize("bias", [None, (96,), (1, 96), (1,), ()])
def test_gemm(settings_: dict[str, Any], bias: tuple[int, ...] | None) -> None:
    weight = sparse(96, 64) if settings_.get("transB") else sparse(64, 96)
    constants = {"w": weight, **({} if bias is None else {"b": normal(*bias)})}
    node = helper.make_node("Gemm", ["x", *constants], ["y"], "layer", **settings_)
    assert kinds(check(model_of([node], constants), normal(3, 64)).model) == ["SparseLinear"]


def test_a_bias_behind_a_product_is_part_of_it_on_either_side() -> None:
    for names in (["p", "b"], ["b", "p"]):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", names, ["y"])]
        packed = check(model_of(nodes, {"w": sparse(64, 96), "b": normal(96)}), normal(3, 64))
        assert kinds(packed.model) == ["SparseLinear"]


def test_what_is_added_and_is_no_bias_stays() -> None:
    for added in (normal(3, 96), normal(1, 1, 96)):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
        packed = check(model_of(nodes, {"w": sparse(64, 96), "b": added}), normal(3, 64))
        assert kinds(packed.model) == ["SparseLinear", "Add"]


# Activations as exporters write them, from "p" to "y", and the constants that they have.
CURVES = {
    "relu": ("y = Relu (p)", {}),
    "clip": ("y = Clip (p, low, high)", {"low": 0.0, "high": 6.0}),
    "silu": ("s = Sigmoid (p); y = Mul (p, s)", {}),
    "gelu of PyTorch": (
        "a = Div (p, r); b = Erf (a); c = Add (b, one); d = Mul (p, c); y = Mul (d, half)",
        {"r": 2**0.5, "one": 1.0, "half": 0.5},
    ),
    "gelu of TensorFlow": (
        "h = Mul (p, half); a = Mul (p, r); b = Erf (a); c = Add (one, b); y = Mul (c, h)",
        {"r": 0.5**0.5, "one": 1.0, "half": 0.5},
    ),
    "gelu by tanh": (
        "a = Pow (p, three); b = Mul (a, k); c = Add (p, b); d = Mul (c, q); e = Tanh (d); f = Add (e, one);"
        " g = Mul (p, half); y = Mul (g, f)",
        {"three": 3.0, "k": 0.044715, "q": (2 / np.pi) ** 0.5, "one": 1.0, "half": 0.5},
    ),
}


@pytest.mark.parametrize("curve", CURVES)
def test_the_activation_behind_is_part_of_the_layer_however_it_is_written(curve: str) -> None:
    text, constants = CURVES[curve]
    nodes = [onnx.parser.parse_node(each.strip()) for each in f"p = MatMul (x, w); {text}".split(";")]
    given = {"w": sparse(64, 96), **{name: np.array(number, np.float32) for name, number in constants.items()}}
    packed = check(model_of(nodes, given), normal(3, 64))
    assert kinds(packed.model) == ["SparseLinear"]
    assert len(packed.model.graph.initializer) == 1


@pytest.mark.parametrize(
    ("kind", "attributes"), [("LeakyRelu", {"alpha": 0.2}), ("Elu", {"alpha": 0.7}), ("Selu", {}), ("HardSwish", {})]
)
def test_activations_with_settings(kind: str, attributes: dict[str, float]) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node(kind, ["p"], ["y"], **attributes)]
    assert kinds(check(model_of(nodes, {"w": sparse(64, 96)}), normal(3, 64)).model) == ["SparseLinear"]


def test_a_curve_that_the_engine_has_not_or_that_others_see_stays() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Sigmoid", ["p"], ["s"])]
    nodes += [helper.make_node("Mul", ["s", "two"], ["y"])]
    packed = check(model_of(nodes, {"w": sparse(64, 96), "two": np.array(2, np.float32)}), normal(3, 64))
    assert kinds(packed.model) == ["SparseLinear", "Mul"]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["r"])]
    nodes += [helper.make_node("Add", ["p", "r"], ["y"])]
    assert kinds(check(model_of(nodes, {"w": sparse(64, 96)}), normal(3, 64)).model) == ["SparseLinear", "Relu", "Add"]


CONVOLUTIONS = [
    ({}, (32, 16, 3, 3), (2, 16, 8, 9)),
    ({"pads": [1, 2, 0, 1], "strides": [2, 1]}, (32, 16, 3, 3), (2, 16, 8, 9)),
    ({"dilations": [2, 2], "pads": [2] * 4}, (32, 16, 3, 3), (1, 16, 7, 7)),
    ({"group": 4}, (32, 8, 3, 3), (2, 32, 6, 6)),
    ({"auto_pad": "SAME_UPPER"}, (32, 16, 2, 2), (1, 16, 5, 5)),
    ({"auto_pad": "SAME_LOWER"}, (32, 16, 2, 2), (1, 16, 5, 5)),
    ({"auto_pad": "VALID", "strides": [2, 2]}, (32, 16, 1, 1), (1, 16, 5, 5)),
    ({"pads": [1, 1]}, (32, 16, 3), (2, 16, 11)),
    ({"strides": [3], "pads": [0, 2]}, (32, 16, 5), (1, 16, 12)),
]


@pytest.mark.parametrize(("attributes", "kernel", "x"), CONVOLUTIONS)
@pytest.mark.parametrize("free", [False, True])
def test_convolutions(attributes: dict[str, Any], kernel: tuple[int, ...], x: tuple[int, ...], free: bool) -> None:
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes), helper.make_node("Relu", ["c"], ["y"])]
    shape = [None, x[1], *([None] * len(x[2:]) if free else x[2:])]
    model = model_of(nodes, {"w": sparse(*kernel), "b": normal(kernel[0])}, x=shape)
    assert kinds(check(model, normal(*x)).model) == ["SparseConv"]
    check(model, normal(*x), "int8", 0.02)  # 16 bits


def test_a_convolution_whose_padding_depends_on_its_input_is_left_with_the_reason() -> None:
    same = helper.make_node("Conv", ["p", "k"], ["y"], "same", auto_pad="SAME_UPPER", strides=[2, 2])
    first = helper.make_node("Conv", ["x", "w"], ["p"])
    model = model_of([first, same], {"w": sparse(16, 16, 3, 3), "k": sparse(16, 16, 3, 3)}, x=[1, 16, 9, 9])
    packed = check(model, normal(1, 16, 9, 9))
    assert kinds(packed.model) == ["SparseConv", "Conv"]
    assert "SAME_UPPER" in packed.rows[1].why


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_convolution(data: st.DataObject) -> None:
    number = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    groups, kernel = number(1, 3), [number(1, 3), number(1, 4)]
    outputs, inputs = groups * number(1, 20), number(1, 9)
    size = [number(7, 9), number(7, 9)]
    attributes = {
        "group": groups,
        "strides": [number(1, 3), number(1, 3)],
        "dilations": [number(1, 2), number(1, 2)],
        "pads": [number(0, 2) for _ in range(4)],
    }
    weight = sparse(outputs, inputs, *kernel, seed=number(0, 99), density=0.05)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    model = model_of([node], {"w": weight}, x=[None, groups * inputs, None, None])
    x = normal(2, groups * inputs, *size)
    try:
        packed = pack(model, "exact", 0.3, inputs={"x": x})
    except ArgumentError as error:
        refused = str(error)
    else:
        assert isinstance(packed.difference, float)
        assert packed.difference <= ALIKE
        return
    assert "no layer can be packed" in refused  # of few weights, 16 neurons need too many places


def test_neurons_change_places_where_their_reader_is_packed_too() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["r"])]
    nodes += [helper.make_node("MatMul", ["r", "v"], ["y"])]
    model = model_of(nodes, {"w": sparse(64, 256), "v": sparse(256, 64, seed=1)})
    both = check(model, normal(3, 64))
    alone = pack(model_of([PRODUCT], {"w": sparse(64, 256)}), "exact")
    assert both.rows[0].fewer > 1.1 * alone.rows[0].fewer


def test_weights_behind_nodes_that_exporters_put_there() -> None:
    weight = sparse(96, 64)
    scale = np.abs(weight).max(axis=1) / 127
    whole = np.round(weight / np.maximum(scale, 1e-9)[:, None]).astype(np.int8)
    transposed = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    assert kinds(check(model_of(transposed, {"w": weight}), normal(3, 64)).model) == ["SparseLinear"]
    quantized = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=0)]
    quantized += [helper.make_node("Gemm", ["x", "d"], ["y"], transB=1)]
    constants = {"q": whole, "s": scale.astype(np.float32), "z": np.zeros(96, np.int8)}
    assert kinds(check(model_of(quantized, constants), normal(3, 64)).model) == ["SparseLinear"]
    around = [helper.make_node("QuantizeLinear", ["x", "f", "g"], ["b"])]
    around += [helper.make_node("DequantizeLinear", ["b", "f", "g"], ["e"]), *quantized]
    around[-1] = helper.make_node("Gemm", ["e", "d"], ["y"], transB=1)
    of_input = {"f": np.array(0.03, np.float32), "g": np.array(0, np.int8)}
    within = ALIKE if BYTE_DOTS else 0.3  # of the original, whose sums of products of bytes have no room there
    packed = check(model_of(around, {**constants, **of_input}), normal(3, 64), within=within)
    assert kinds(packed.model) == ["QuantizeLinear", "DequantizeLinear", "SparseLinear"]


def test_constants_may_be_nodes_and_those_that_others_read_stay() -> None:
    weight = sparse(64, 64)
    nodes = [helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight)), PRODUCT]
    assert kinds(check(model_of(nodes, {}), normal(3, 64)).model) == ["SparseLinear"]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "row"], ["y"])]
    nodes[:0] = [helper.make_node("Gather", ["w", "zero"], ["row"])]
    packed = check(model_of(nodes, {"w": weight, "zero": np.array(0)}), normal(3, 64))
    assert kinds(packed.model) == ["Gather", "SparseLinear", "Add"]


def test_weights_that_several_nodes_share_are_packed_once() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("MatMul", ["p", "w"], ["y"])]
    packed = check(model_of(nodes, {"w": sparse(64, 64)}), normal(3, 64))
    assert kinds(packed.model) == ["SparseLinear", "SparseLinear"]


def test_subgraphs_and_functions() -> None:
    weight = numpy_helper.from_array(sparse(64, 64), "w")
    branches = {}
    own = numpy_helper.from_array(sparse(64, 64, seed=1), "v")
    for name, constants in (("then_branch", []), ("else_branch", [own])):
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        node = helper.make_node("MatMul", ["x", "v" if constants else "w"], [f"{name}_y"], name)
        branches[name] = helper.make_graph([node], name, [], [out], constants)
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["c"]),
    ]
    nodes += [helper.make_node("If", ["c"], ["y"], **branches)]
    model = model_of(nodes, {"w": numpy_helper.to_array(weight), "zero": np.array(0, np.float32)})
    for x in (np.abs(normal(2, 64)), -np.abs(normal(2, 64))):
        packed = check(model, x)
    assert {row.name for row in packed.rows} == {"then_branch", "else_branch"}
    assert all(row.taken for row in packed.rows)

    body = [helper.make_node("MatMul", ["a", "m"], ["b"])]
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "Product", ["a", "m"], ["b"], body, opset)
    model = model_of([helper.make_node("Product", ["x", "w"], ["y"], domain="local")], {"w": sparse(64, 64)})
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert kinds(check(model, normal(2, 64)).model) == ["SparseLinear"]


def test_a_loop_whose_body_has_a_layer() -> None:
    ports = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
    ]
    ports += [helper.make_tensor_value_info("s", TensorProto.FLOAT, None)]
    outs = [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("t", TensorProto.FLOAT, None),
    ]
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("MatMul", ["s", "w"], ["t"], "step")]
    body = helper.make_graph(nodes, "body", ports, outs)
    loop = helper.make_node("Loop", ["times", "", "x"], ["y"], body=body)
    packed = check(model_of([loop], {"w": sparse(64, 64), "times": np.array(3)}), normal(2, 64))
    assert packed.rows[0].taken


def test_halves_stay_halves() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])]
    model = model_of(nodes, {"w": sparse(64, 96).astype(np.float16)}, kind=TensorProto.FLOAT16)
    packed = check(model, normal(3, 64).astype(np.float16), within=2e-3)
    assert kinds(packed.model) == ["Cast", "SparseLinear", "Cast", "Relu"]


def test_weights_beside_the_file(tmp_path: Path) -> None:
    model = model_of([PRODUCT], {"w": sparse(64, 96)})
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    packed = pack(tmp_path / "m.onnx", "exact")
    assert packed.difference <= ALIKE
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ArgumentError, match="cannot be read as an ONNX model"):
        pack(tmp_path / "m.onnx")


def test_initializers_that_callers_may_replace_are_no_constants() -> None:
    model = model_of([PRODUCT], {"w": sparse(64, 96)})
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 96]))
    with pytest.raises(ArgumentError, match="no MatMul, Gemm or Conv"):
        pack(model)


def test_other_models_stay_as_they_are_and_the_given_one_too() -> None:
    nodes = [helper.make_node("MatMul", ["x", "d"], ["p"]), helper.make_node("MatMul", ["p", "w"], ["y"])]
    model = model_of(nodes, {"w": sparse(64, 96), "d": normal(64, 64)}, doc_string="mine")
    before = model.SerializeToString()
    packed = check(model, normal(3, 64))
    assert model.SerializeToString() == before
    assert kinds(packed.model) == ["MatMul", "SparseLinear"]
    assert packed.model.doc_string == "mine"
    assert packed.rows[0].why == "less than 60% of its weights are zero"


def test_several_threads_of_a_session_give_the_same() -> None:
    x = normal(300, 512)
    packed = pack(model_of([PRODUCT], {"w": sparse(512, 512)}, x=("rows", 512)))
    one, two = (session(packed.model, threads).run(None, {"x": x})[0] for threads in (1, 3))
    assert np.array_equal(one, two)


def said_of(call: Callable[[], Any]) -> str | None:
    """What ONNX Runtime says of a call, by errors of several classes."""
    try:
        call()
    except Exception as error:
        return str(error)
    return None


def test_what_onnx_runtime_says_of_bad_nodes() -> None:
    packed = pack(model_of([PRODUCT], {"w": sparse(64, 96)}, x=[None, None])).model
    assert "takes an input of shape (rows, 64)" in said_of(
        lambda: session(packed).run(None, {"x": np.zeros((2, 63), np.float32)})
    )
    computed_layer = onnx.ModelProto.FromString(packed.SerializeToString())
    computed_layer.graph.node.insert(0, helper.make_node("Identity", [computed_layer.graph.initializer[0].name], ["i"]))
    del computed_layer.graph.initializer[:]
    computed_layer.graph.input.append(
        helper.make_tensor_value_info(packed.graph.initializer[0].name, TensorProto.UINT8, [None])
    )
    computed_layer.graph.node[1].input[1] = "i"
    assert "is no constant" in said_of(lambda: session(computed_layer))
    other = onnx.ModelProto.FromString(packed.SerializeToString())
    other.graph.node[0].op_type = "SparseConv"
    assert "none that this operator computes" in said_of(lambda: session(other))
    without = said_of(
        lambda: onnxruntime.InferenceSession(packed.SerializeToString(), providers=["CPUExecutionProvider"])
    )
    assert "SparseLinear" in without  # as docs/onnx.md quotes it


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_layers_that_are_other_models_are_refused_or_run(name: str) -> None:
    packed = pack(model_of([PRODUCT], {"w": sparse(64, 96)}, x=[None, None])).model
    array = np.frombuffer(to_bytes(PROGRAMS[name]()), np.uint8)
    packed.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, packed.graph.initializer[0].name))
    said = said_of(lambda: session(packed))
    assert said is None or "SparseLinear" in said


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_bytes_that_lie_are_refused(data: st.DataObject) -> None:
    packed = pack(model_of([PRODUCT], {"w": sparse(64, 32)}, x=[None, None])).model
    content = bytearray(numpy_helper.to_array(packed.graph.initializer[0]).tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    array = np.frombuffer(bytes(content), np.uint8)
    packed.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, packed.graph.initializer[0].name))
    said = said_of(lambda: session(packed).run(None, {"x": normal(2, 64)}))
    assert said is None or "sparbor" in said


def saved(model: onnx.ModelProto, path: Path) -> str:
    onnx.save(model, path)
    return str(path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given_ = saved(model_of([PRODUCT], {"w": sparse(64, 96)}), tmp_path / "in.onnx")
    out = tmp_path / "out.onnx"
    np.savez(tmp_path / "x.npz", x=normal(2, 64))
    command = ["onnx", "pack", given_, "--out", str(out), "--inputs", str(tmp_path / "x.npz")]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "1 of 1 layers packed" in said
    assert "answers differ from the original's by" in said
    onnx.checker.check_model(onnx.load(out))
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def bad_inputs(folder: Path) -> dict[str, tuple[list[str], str]]:
    good = saved(model_of([PRODUCT], {"w": sparse(64, 96)}), folder / "good.onnx")
    dense = saved(model_of([PRODUCT], {"w": normal(64, 96)}), folder / "dense.onnx")
    old = saved(model_of([PRODUCT], {"w": sparse(64, 96)}, opset=6), folder / "old.onnx")
    new = saved(model_of([PRODUCT], {"w": sparse(64, 96)}, opset=99), folder / "new.onnx")
    none = saved(model_of([helper.make_node("Relu", ["x"], ["y"])], {}), folder / "none.onnx")
    packed = saved(pack(good).model, folder / "packed.onnx")
    (folder / "text.onnx").write_text("no model")
    (folder / "text.npz").write_text("no arrays")
    np.savez(folder / "other.npz", z=normal(2, 64))
    return {
        "no file": ([str(folder / "missing.onnx")], "is no file"),
        "no model": ([str(folder / "text.onnx")], "cannot be read as an ONNX model"),
        "dense": ([dense], "no layer can be packed"),
        "too old": ([old], "operator set 6"),
        "too new": ([new], "operator set 99"),
        "no layers": ([none], "there is nothing to pack"),
        "packed": ([packed], "packed already"),
        "sparsity": ([good, "--min-sparsity", "1.5"], "min_sparsity=1.5"),
        "sparser": ([good, "--min-sparsity", "0.99"], "pass a smaller min_sparsity"),
        "no arrays": ([good, "--inputs", str(folder / "text.npz")], "cannot be read as a .npz file"),
        "other arrays": ([good, "--inputs", str(folder / "other.npz")], "the original does not run on the inputs"),
    }


@pytest.mark.parametrize(
    "case",
    [
        *("no file", "no model", "dense", "too old", "too new", "no layers", "packed", "sparsity", "sparser"),
        *("no arrays", "other arrays"),
    ],
)
def test_bad_input_gets_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = bad_inputs(tmp_path)[case]
    out = tmp_path / "out.onnx"
    assert main(["onnx", "pack", *arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_model_itself_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(model_of([PRODUCT], {"w": sparse(64, 96)}), tmp_path / "m.onnx")
    assert main(["onnx", "pack", file, "--out", file, "--force"]) == 2
    assert "that is what is read" in capsys.readouterr().err


def test_every_encoding_is_an_argument() -> None:
    model = model_of([PRODUCT], {"w": sparse(64, 96)})
    with pytest.raises(ArgumentError, match="must be one of word16, exact, int8"):
        pack(model, "int4")
    sizes = [pack(model, weights).rows[0].bytes_after for weights in ("int8", "word16", "exact")]
    assert all(one < two for one, two in itertools.pairwise(sizes[1:]))


@pytest.mark.parametrize("weights", ["int8", "word16", "exact"])
@pytest.mark.parametrize("name", EXPORTED)
def test_deployed_models_are_exported_sparse(name: str, weights: str) -> None:
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    model = settled(build())
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data[torch.rand_like(parameter) < 0.9] = 0
    runtime = sparbor.deploy(model, torch.zeros(1, *shape), weights=weights)
    written = to_onnx(runtime.program, sparse=True)
    own = [node for node in written.graph.node if node.domain == "sparbor"]
    assert len(own) == sum(layer.kind == "sparse" for layer in runtime.describe()) > 0
    x = normal(3, *shape)
    found, expected = session(written).run(None, {"input": x})[0], runtime(x)
    within = 0.01 if weights == "int8" else ALIKE  # a sum that rounds otherwise moves a byte
    assert np.abs(found - expected).max() <= within * np.abs(expected).max()


class Tagger(nn.Module):
    """A class for each token of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(50, 64), nn.LSTM(64, 64, batch_first=True, bidirectional=True)
        self.hidden, self.out = nn.Linear(128, 128), nn.Linear(128, 16)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.hidden(self.lstm(self.embedding(ids))[0])))


def swin() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {"image_size": 32, "patch_size": 4, "embed_dim": 64, "depths": [2], "num_heads": [2], "window_size": 4}
    return transformers.SwinModel(transformers.SwinConfig(**sizes), add_pooling_layer=False)


class Chooses(nn.Module):
    """One of two layers, by a sum of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(64, 64), nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return self.one(x)
        return self.other(x)


NETWORKS_OF_PYTORCH: dict[str, tuple[Callable[[], nn.Module], torch.Tensor, set[str]]] = {
    "LSTM tagger": (Tagger, torch.arange(12).view(2, 6), {"LSTM"}),
    "Swin": (swin, torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), {"LayerNormalization"}),
    "If": (lambda: torch.jit.script(Chooses()), torch.ones(2, 64), {"If"}),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", NETWORKS_OF_PYTORCH)
def test_networks_that_pytorch_exports(name: str, tmp_path: Path) -> None:
    build, x, stay = NETWORKS_OF_PYTORCH[name]
    torch.manual_seed(0)
    model = build().eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data[torch.rand_like(parameter) < 0.9] = 0
    torch.onnx.export(model, (x,), tmp_path / "m.onnx", dynamo=False, opset_version=17, input_names=["x"])
    model = onnx.load(tmp_path / "m.onnx")
    packed = check(model, x.numpy())
    assert sum(row.taken for row in packed.rows) >= 2
    assert stay <= set(kinds(packed.model))
    check(model, x.numpy(), "int8", 0.05)
