"""ONNX files deployed on the engine: every operator, whole networks of several exporters, and what is refused."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

import sparbor
from sparbor.cli.program import main
from sparbor.errors import ArgumentError, SparborError
from sparbor.onnx_import.host import on_host
from sparbor.onnx_import.node import Node
from sparbor.onnx_import.table import OPERATORS
from tests.onnx_operators import FAMILIES, Case, floats, inputs, ints, model_of, normal

ALIKE = 1e-4
WITH_ROUNDING = 0.02  # of halves and bytes within, which ONNX Runtime rounds and the engine does not

Arrays = Mapping[str, np.ndarray]


def session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def original(model: ModelProto, given: Arrays) -> dict[str, np.ndarray]:
    names = [each.name for each in model.graph.output]
    return dict(zip(names, session(model).run(None, dict(given)), strict=True))


def answers(runtime: sparbor.Runtime, given: Arrays) -> dict[str, np.ndarray]:
    found = runtime(*(given[port.name] for port in runtime.inputs))
    return found if isinstance(found, dict) else {runtime.outputs[0].name: found}


def check(runtime: sparbor.Runtime, model: ModelProto, given: Arrays, within: float = ALIKE) -> None:
    """The engine answers as ONNX Runtime does, in the same types but for double precision."""
    expected, found = original(model, given), answers(runtime, given)
    for name, answer in found.items():
        wanted = expected[name]
        assert answer.shape == wanted.shape, name
        assert answer.dtype == (np.float32 if wanted.dtype in (np.float64, np.float16) else wanted.dtype), name
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(
                answer, wanted, ALIKE, within * max(1, np.abs(wanted).max(initial=0)), err_msg=name
            )
        else:
            np.testing.assert_array_equal(answer, wanted, err_msg=name)


def _groups() -> Iterator[Any]:
    """Cases of one family and operator set together: a model for each would take as long again for each."""
    for family, cases in FAMILIES.items():
        by_opset = sorted(cases.values(), key=lambda case: case.opset)
        for opset, group in groupby(by_opset, key=lambda case: case.opset):
            yield pytest.param(list(group), (2 if family.endswith("several items") else 1, 3), id=f"{family}, {opset}")


@pytest.mark.parametrize(("cases", "counts"), list(_groups()))
def test_operators(cases: Sequence[Case], counts: Sequence[int]) -> None:
    model = model_of(cases)
    names = [port.name for port in model.graph.input]
    runtime = sparbor.from_onnx(model, {name: inputs(4)[name] for name in names}, weights="exact")
    assert {port.shape[0] for port in runtime.inputs} == {"batch"}
    rounds = any(word in case.text for case in cases for word in ("Quantize", "Dequantize", "to = 10"))
    for count in counts:
        check(runtime, model, {name: inputs(count)[name] for name in names}, WITH_ROUNDING if rounds else ALIKE)


def test_every_operator_is_in_a_case() -> None:
    text = " ".join(case.text for cases in FAMILIES.values() for case in cases.values())
    words = set(text.replace("(", " ").replace("<", " ").split())
    elsewhere = {"Imputer", "ZipMap", "Saturate"}
    assert {kind.rpartition(".")[2] for kind in OPERATORS} - {word.rpartition(".")[2] for word in words} == elsewhere


def test_the_page_lists_all_operators() -> None:
    page = Path(__file__).resolve().parent.parent.joinpath("docs", "onnx.md").read_text()
    table = page.partition("| family | operators |")[2].partition("###")[0]
    kinds = {kind.rpartition(".")[2] for kind in OPERATORS} - {"Saturate"}
    assert set(re.findall(r"\b[A-Z]\w+", table)) == kinds | {"LSTM", "GRU", "RNN", "Constant", "If"}


# Recurrent layers.


def recurrent(
    kind: str, weights: Arrays, steps: Any = "s", outputs: str = "y, h", inputs_: str = "", **attributes: Any
) -> ModelProto:
    node = helper.make_node(
        kind, ["x", *inputs_.split()] if inputs_ else ["x", *weights], outputs.split(", "), **attributes
    )
    batch_first = bool(attributes.get("layout"))
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", steps, 3) if batch_first else (steps, "n", 3))
    made = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs.split(", ") if name]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "graph", [port], made, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def recurrent_weights(gates: int, ways: int, bias: bool) -> dict[str, np.ndarray]:
    weights = {"w": normal(ways, gates * 5, 3, seed=1), "r": normal(ways, gates * 5, 5, seed=2) / 2}
    return {**weights, "b": normal(ways, 2 * gates * 5, seed=3)} if bias else weights


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("kind", "gates", "more"),
    [
        ("LSTM", 4, {}),
        ("GRU", 3, {"linear_before_reset": 1}),
        ("RNN", 1, {}),
        ("RNN", 1, {"activations": ["Relu"]}),
    ],
)
def test_recurrent_layers(kind: str, gates: int, more: dict[str, Any], direction: str) -> None:
    ways = 2 if direction == "bidirectional" else 1
    more = {name: value * ways if name == "activations" else value for name, value in more.items()}
    outputs = "y, h, c" if kind == "LSTM" else "y, h"
    weights = recurrent_weights(gates, ways, bias=direction != "reverse")
    model = recurrent(kind, weights, outputs=outputs, hidden_size=5, direction=direction, **more)
    runtime = sparbor.from_onnx(model, weights="exact")
    for steps, count in ((4, 2), (7, 1)):
        check(runtime, model, {"x": normal(steps, count, 3)})


def test_recurrent_states_are_given_and_cells_start_at_zero() -> None:
    weights = {**recurrent_weights(4, 1, bias=True), "h": normal(1, 2, 5), "c": normal(1, 2, 5)}
    for names in ("w r b EMPTY h c", "w r b EMPTY h"):
        model = recurrent("LSTM", weights, 4, inputs_=names, outputs="y, last", hidden_size=5)
        model.graph.node[0].input[4] = ""
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
        check(sparbor.from_onnx(model, weights="exact"), model, {"x": normal(4, 2, 3)})


@pytest.mark.parametrize(
    ("kind", "gates", "attributes", "message"),
    [
        ("GRU", 3, {}, "linear_before_reset=0"),
        ("LSTM", 4, {"clip": 1.0}, "clips its gates"),
        ("RNN", 1, {"activations": ["Sigmoid"]}, "the activations sigmoid"),
    ],
)
def test_recurrent_layers_that_the_engine_has_not(
    kind: str, gates: int, attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        sparbor.from_onnx(recurrent(kind, recurrent_weights(gates, 1, bias=True), hidden_size=5, **attributes))


# Graphs.


def test_a_branch_with_a_constant_condition_is_taken() -> None:
    for condition, expected in ((1, 3.0), (0, -3.0)):
        model = branching(condition)
        runtime = sparbor.from_onnx(model, weights="exact")
        np.testing.assert_allclose(runtime(x=np.ones((3, 2), np.float32)), np.full((3, 2), expected))


def branch(name: str, *nodes: onnx.NodeProto, answer: str) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [onnx.helper.make_empty_tensor_value_info(answer)])


def branching(condition: Any) -> ModelProto:
    """y = x + 2 or -3 x."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    two = numpy_helper.from_array(np.array(2, np.float32), "two")
    three = numpy_helper.from_array(np.array(-3, np.float32), "three")
    yes = branch("yes", helper.make_node("Add", ["x", "two"], ["a"]), answer="a")
    no = branch("no", helper.make_node("Mul", ["x", "three"], ["b"]), answer="b")
    nodes, constants = [], [two, three]
    if isinstance(condition, int):
        constants.append(numpy_helper.from_array(np.array(bool(condition)), "condition"))
    else:
        nodes += condition
        constants.append(numpy_helper.from_array(np.array(2, np.int64), "width"))
        constants.append(numpy_helper.from_array(np.array(1, np.int64), "one"))
    nodes.append(helper.make_node("If", ["condition"], ["y"], "choice", then_branch=yes, else_branch=no))
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_branch_by_sizes_is_taken() -> None:
    by_sizes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["columns"]),
        helper.make_node("Equal", ["columns", "width"], ["condition"]),
    ]
    model = branching(by_sizes)
    check(sparbor.from_onnx(model, weights="exact"), model, {"x": normal(5, 2)})


def test_a_branch_by_values_is_refused() -> None:
    by_values = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "two"], ["condition"]),
    ]
    with pytest.raises(
        ArgumentError, match=r"node 'choice' \(If\) takes one of two branches by the numbers of an input"
    ):
        sparbor.from_onnx(branching(by_values))


# Sizes.


def named(
    x: Sequence[Any], *nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT, name: str = "x", **constants: Any
) -> ModelProto:
    """From one input to the output "y"."""
    port, made = helper.make_tensor_value_info(name, kind, x), onnx.helper.make_empty_tensor_value_info("y")
    initializers = [numpy_helper.from_array(np.asarray(array), each) for each, array in constants.items()]
    graph = helper.make_graph(list(nodes), "graph", [port], [made], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (("N", 8), ("batch", 8)),
        ((None, "time steps", 8), ("batch", "x_1", 8)),
        (("rows", "rows", 8), ("rows", "rows", 8)),
        ((3, "length", 8), (3, "length", 8)),
        ((2, 8), (2, 8)),
        (("a-b", "1st", 8), ("batch", "_1st", 8)),
    ],
)
def test_dimensions_keep_their_names(shape: Sequence[Any], expected: Sequence[Any]) -> None:
    model = named(shape, PRODUCT, w=normal(8, 4))
    runtime = sparbor.from_onnx(model, weights="exact")
    assert runtime.inputs[0].shape == tuple(expected)
    sizes = {"rows": 5, "N": 6, None: 7, "time steps": 3, "length": 5, "a-b": 2, "1st": 9}
    check(runtime, model, {"x": normal(*(sizes.get(each, each) for each in shape))})


def test_sizes_that_cannot_be_free_are_those_of_the_example() -> None:
    split = helper.make_node("Split", ["x"], ["a", "b"], axis=1)
    model = named(("n", "length"), split, helper.make_node("Conv", ["u", "w"], ["y"]), w=normal(1, 1, 3), axis=ints(1))
    model.graph.node.insert(1, helper.make_node("Unsqueeze", ["a", "axis"], ["u"]))
    runtime = sparbor.from_onnx(model, {"x": normal(2, 10)}, weights="exact")
    assert runtime.inputs[0].shape[0] == "batch"
    check(runtime, model, {"x": normal(3, 10)})


def test_dimensions_are_named_by_hand() -> None:
    model = named((2, 6, 8), PRODUCT, w=normal(8, 4))
    runtime = sparbor.from_onnx(model, weights="exact", dynamic_shapes={"x": {0: "batch", 1: "length"}})
    assert runtime.inputs[0].shape == ("batch", "length", 8)


def test_inputs_that_are_no_identifiers_get_other_names() -> None:
    model = named(("n", 8), helper.make_node("MatMul", ["input.1:0", "w"], ["y"]), name="input.1:0", w=normal(8, 4))
    runtime = sparbor.from_onnx(model, {"input.1:0": normal(2, 8)}, weights="exact")
    assert runtime.inputs[0].name == "input_1_0"
    expected = original(model, {"input.1:0": normal(3, 8)})["y"]
    np.testing.assert_allclose(runtime(input_1_0=normal(3, 8)), expected, 1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_become_single(dtype: Any) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = named(("n", 8), PRODUCT, kind=kind, w=normal(8, 4).astype(dtype))
    runtime = sparbor.from_onnx(model, weights="exact")
    found, expected = runtime(normal(3, 8)), original(model, {"x": normal(3, 8).astype(dtype)})["y"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, 0.02, 0.02)


def test_sparse_layers_stay_sparse_and_have_their_names() -> None:
    weight = normal(64, 256) * (np.random.default_rng(0).random((64, 256)) < 0.05)
    gemm = helper.make_node("Gemm", ["x", "encoder.fc.weight"], ["h"], "gemm", transB=1)
    product = helper.make_node("MatMul", ["h", "w"], ["y"], "/decoder/out/MatMul")
    model = named(("n", 256), gemm, product, w=normal(64, 4), **{"encoder.fc.weight": weight.astype(np.float32)})
    runtime = sparbor.from_onnx(model)
    assert [(layer.name, layer.kind) for layer in runtime.describe()] == [
        ("encoder.fc", "sparse"),
        ("decoder.out", "dense"),
    ]
    check(runtime, model, {"x": normal(3, 256)}, 0.05)


@pytest.mark.parametrize("weights", ["word16", "int8", "auto"])
def test_weights_are_stored_as_asked_for(weights: str) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1])
    model = named(("n", 16, 8, 8), conv, helper.make_node("Relu", ["h"], ["y"]), w=normal(32, 16, 3, 3))
    batches = None if weights == "word16" else [normal(8, 16, 8, 8)]
    runtime = sparbor.from_onnx(model, weights=weights, calibration=batches, threads=2)
    check(runtime, model, {"x": normal(3, 16, 8, 8)}, 0.05)


def test_without_onnx_runtime_the_reference_is_what_answers_are_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: ModelProto) -> None:
        raise ModuleNotFoundError("No module named 'onnxruntime'")

    monkeypatch.setattr("sparbor.onnx_import.examples.session_of", missing)
    model = named(("n", 8), PRODUCT, w=normal(8, 4))
    check(sparbor.from_onnx(model, weights="exact"), model, {"x": normal(3, 8)})


# Networks of PyTorch's exporter.


class Tagger(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.recurrent = kind(16, 12, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(24, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.recurrent(self.embedding(ids))[0])


class Windows(nn.Module):
    """As in Swin: attention within shifted windows, with a table of relative places, and patches that are merged."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 16, 2, 2), nn.LayerNorm(16)
        self.qkv, self.out, self.merge, self.head = (
            nn.Linear(*each) for each in ((16, 48), (16, 16), (64, 16), (16, 5))
        )
        self.table = nn.Parameter(torch.randn(49, 2))
        places = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")).flatten(1)
        apart = (places[:, :, None] - places[:, None]).permute(1, 2, 0) + 3
        self.register_buffer("places", (apart[..., 0] * 7 + apart[..., 1]).flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        y = torch.roll(self.norm(x), (-2, -2), (1, 2))
        batch, height, width, channels = y.shape
        y = y.view(batch, height // 4, 4, width // 4, 4, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels)
        q, k, v = self.qkv(y).reshape(-1, 16, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        shares = (q * 8**-0.5 @ k.transpose(-2, -1) + self.table[self.places].view(16, 16, 2).permute(2, 0, 1)).softmax(
            -1
        )
        y = self.out((shares @ v).transpose(1, 2).reshape(-1, 16, channels))
        y = y.view(batch, height // 4, width // 4, 4, 4, channels).permute(0, 1, 3, 2, 4, 5).reshape(x.shape)
        x = x + torch.roll(y, (2, 2), (1, 2))
        merged = [x[:, one::2, other::2] for one in (0, 1) for other in (0, 1)]
        return self.head(self.merge(torch.cat(merged, -1)).mean((1, 2)))


class Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        self.model = BertModel(BertConfig(**sizes, vocab_size=100, max_position_embeddings=64))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=ids, attention_mask=mask, return_dict=False)[0]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.GELU(), nn.Linear(16, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.Hardswish(), nn.Upsample(scale_factor=2, mode="bilinear")),
        *(nn.ConvTranspose2d(32, 8, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
    )


def exported(
    model: nn.Module, folder: Path, args: tuple[torch.Tensor, ...], free: Mapping[str, dict[int, str]]
) -> Path:
    file = folder / "model.onnx"
    with torch.no_grad():
        torch.onnx.export(
            model.eval(),
            args,
            str(file),
            dynamo=False,
            input_names=[*free],
            output_names=["y"],
            dynamic_axes=dict(free),
        )
    return file


ROWS, TOKENS = {0: "n"}, {0: "n", 1: "length"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "shapes", "free", "expected"),
    [
        (mlp, [(64,)], {"x": ROWS}, {"linear": 3}),
        (cnn, [(3, 16, 16)], {"x": ROWS}, {"convolution": 3, "max_pool": 1, "linear": 1}),
        (lambda: Tagger(nn.LSTM), [()], {"ids": TOKENS}, {"lstm": 4, "embedding": 1}),
        (lambda: Tagger(nn.GRU), [()], {"ids": TOKENS}, {"gru": 4, "embedding": 1}),
        (Windows, [(3, 16, 16)], {"x": ROWS}, {"convolution": 1, "linear": 4, "layer_norm": 1}),
        (
            Bert,
            [(), ()],
            {"ids": TOKENS, "mask": TOKENS},
            {"attention": 2, "layer_norm": 5, "embedding": 3, "linear": 12},
        ),
    ],
    ids=["MLP", "CNN", "LSTM", "GRU", "windows", "BERT"],
)
def test_networks_of_pytorch(make: Any, shapes: Any, free: Any, expected: Mapping[str, int], tmp_path: Path) -> None:
    torch.manual_seed(0)

    def made(count: int, length: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng(count)
        given = {}
        for name, shape in zip(free, shapes, strict=True):
            ids, mask = random.integers(0, 50, (count, length)), np.ones((count, length), np.int64)
            mask[0, length - 2 :] = 0
            given[name] = mask if name == "mask" else normal(count, *shape, seed=count) if shape else ids
        return given

    file = exported(make(), tmp_path, tuple(map(torch.from_numpy, made(2, 7).values())), free)
    runtime = sparbor.from_onnx(file, weights="exact")
    kinds = [operation.kind for operation in runtime.program.operations]
    assert {kind: kinds.count(kind) for kind in expected} == expected
    assert all(
        port.shape[: len(sizes)] == ("batch", "length")[: len(sizes)]
        for port, sizes in zip(runtime.inputs, free.values(), strict=True)
    )
    for count, length in ((1, 5), (3, 12)):
        check(runtime, onnx.load(file), made(count, length))


def test_a_network_of_scikit_learn() -> None:
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed, which exports scikit-learn's models")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = normal(200, 8)
    labels = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((32, 16), max_iter=5)).fit(x, labels)
    runtime = sparbor.from_onnx(skl2onnx.to_onnx(pipeline, x[:1]), weights="exact")
    label, likely = runtime(x[:20]).values()
    np.testing.assert_array_equal(label, pipeline.predict(x[:20]))
    np.testing.assert_allclose(likely, pipeline.predict_proba(x[:20]), 1e-4, 1e-5)


def test_labels_that_are_text_are_left_out_and_dictionaries_are_columns() -> None:
    text = (
        "label, scores = ai.onnx.ml.LinearClassifier <coefficients = [1.0, 2.0, 3.0, 4.0], intercepts = [0.5, 0.1],"
        ' classlabels_strings = ["a", "b"], post_transform = "SOFTMAX"> (x)'
    )
    zipped = helper.make_node("ZipMap", ["scores"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b"])
    model = named(("n", 2), onnx.parser.parse_node(text), zipped)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model.graph.output[0].CopyFrom(onnx.helper.make_empty_tensor_value_info("label"))
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("y"))
    runtime = sparbor.from_onnx(model, weights="exact")
    assert [port.name for port in runtime.outputs] == ["y"]
    scores = normal(3, 2) @ np.array([[1, 3], [2, 4]], np.float32) + floats(0.5, 0.1)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(runtime(normal(3, 2)), expected, 1e-5)


# What is refused.


def test_all_unknown_operators_are_named_at_once() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["a"]), helper.make_node("NonZero", ["a"], ["b"])]
    nodes += [helper.make_node("Mine", ["b"], ["c"], domain="my.own"), helper.make_node("Relu", ["c"], ["y"])]
    with pytest.raises(ArgumentError, match=r"engine: NonZero \(2 nodes\), my\.own\.Mine: .*`sparbor onnx pack`"):
        sparbor.from_onnx(named(("n", 2), *nodes))


def test_what_no_output_needs_is_no_fault() -> None:
    model = named(("n", 2), helper.make_node("NonZero", ["x"], ["unused"]), helper.make_node("Relu", ["x"], ["y"]))
    assert sparbor.from_onnx(model).signature() == "x float32 (batch, 2) -> y float32 (batch, 2)"


def test_bad_input(tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    (tmp_path / "text.onnx").write_text("no model")
    text = named(("n", 2), helper.make_node("Identity", ["x"], ["y"]), kind=TensorProto.STRING)
    no_shape = named(("n", 2), relu)
    no_shape.graph.input[0].type.tensor_type.ClearField("shape")
    by_values = helper.make_node("Reshape", ["x", "i"], ["y"])
    computed = named(("n", 2), helper.make_node("Cast", ["m"], ["i"], to=7), by_values)
    computed.graph.node.insert(0, helper.make_node("ReduceMax", ["x"], ["m"], axes=[1], keepdims=0))
    other = named(("n", 4), helper.make_node("Conv", ["x", "w"], ["y"]), w=normal(1, 1, 3))
    for model, options, message in (
        (tmp_path / "missing.onnx", {}, "is no file"),
        (tmp_path / "text.onnx", {}, "cannot be read as an ONNX model"),
        (text, {}, "input 'x' of the model is text"),
        (no_shape, {}, "has no shape"),
        (other, {}, "does not run on inputs that were made up: .*: pass an example"),
        (named(("n", 2), relu), {"example": {"z": normal(1, 2)}}, "example has z, and the model the inputs x"),
        (named(("n", 2), relu), {"example": (normal(1, 2), normal(1, 2))}, "example has 2 parts"),
        (named(("n", 2), relu), {"example": normal(1, 3)}, "the original does not run on it"),
        (named(("n", 2), relu), {"weights": "word8"}, "weights='word8'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            sparbor.from_onnx(model, **options)
    with pytest.raises(ArgumentError, match="depend on the numbers of an input"):
        sparbor.from_onnx(computed, normal(1, 2) * 0 + 2)


def test_other_answers_than_the_original_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "Relu", OPERATORS["Sigmoid"])
    with pytest.raises(SparborError, match=r"output 'y' would be .* away from the original's"):
        sparbor.from_onnx(named(("n", 2), helper.make_node("Relu", ["x"], ["y"])))


# The command.


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "model.onnx", tmp_path / "model.safetensors"
    onnx.save(named(("n", 64), PRODUCT, w=normal(64, 8)), file)
    assert main(["deploy", str(file), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("x float32 (batch, 64) -> y float32 (batch, 8), 512 of 512 weights active, ")
    assert main(["inspect", str(out)]) == 0
    assert capsys.readouterr().out.endswith(said)
    assert main(["deploy", str(file), "--out", str(out)]) == 2
    assert "it is there already; pass --force" in capsys.readouterr().err
    assert main(["deploy", str(file), "--out", str(out), "--weights", "exact", "--force"]) == 0
    np.testing.assert_allclose(sparbor.load(out)(normal(3, 64)), normal(3, 64) @ normal(64, 8), 1e-4, 1e-4)
    before = out.read_bytes()
    (tmp_path / "text.onnx").write_text("no model")
    assert main(["deploy", str(tmp_path / "text.onnx"), "--out", str(out), "--force"]) == 2
    assert out.read_bytes() == before


# Host values: as NumPy computes them, whether numbers or symbols are in them.


SHAPES = st.sampled_from([(), (1,), (3,), (2, 3), (2, 1), (4, 2, 3)])


@settings(max_examples=60, deadline=None)
@for_all(st.sampled_from(["Add", "Sub", "Mul", "Max", "Min"]), SHAPES, SHAPES, st.randoms(use_true_random=False))
def test_host_values_are_broadcast(kind: str, one: Any, other: Any, random: Any) -> None:
    try:
        np.broadcast_shapes(one, other)
    except ValueError:
        return
    numbers = np.random.default_rng(random.randrange(2**32))
    left, right = numbers.integers(-9, 9, one), numbers.integers(-9, 9, other)
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Max": np.maximum, "Min": np.minimum}[kind]
    found = on_host(Node(kind, "n", ("a", "b"), ("y",), 17), [np.asarray(left), np.asarray(right)])
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, function(left, right))


@settings(max_examples=60, deadline=None)
@for_all(
    st.integers(1, 7), st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([1, 2, 3, -1, -2]), st.integers(-2, 1)
)
def test_host_values_are_sliced_as_onnx_slices(size: int, start: int, end: int, step: int, axis: int) -> None:
    x = np.arange(size * size).reshape(size, size)
    bounds = [np.array([each], np.int64) for each in (start, end, axis, step)]
    node = Node("Slice", "n", ("x", "s", "e", "a", "t"), ("y",), 17)
    slicing = helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"])
    names = dict(zip("xseat", (x, *bounds), strict=True))
    ports = [helper.make_tensor_value_info(name, TensorProto.INT64, array.shape) for name, array in names.items()]
    graph = helper.make_graph(
        [slicing], "g", ports, [helper.make_tensor_value_info("y", TensorProto.INT64, [None, None])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    np.testing.assert_array_equal(on_host(node, [x, *bounds]), session(model).run(None, names)[0])
