"""A deployed model as an ONNX file: ONNX Runtime and OpenVINO answer as the engine does."""

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import sparbor
from sparbor.cli.program import main
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.export.onnx.target import export_onnx, to_onnx
from sparbor.ops.activations import ACTIVATIONS
from sparbor.ops.table import OPERATORS
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import pack_by_groups, pack_filters
from sparbor.packing.slots import SlotLayout, SparseLayer
from sparbor.program import model_file
from sparbor.program.program import Activation, Operation, Program
from sparbor.program.windows import AverageWindow, Window, planes_of
from sparbor.train.perforator import perforate
from tests import test_values
from tests.networks import EXPORTED, NETWORKS, settled
from tests.test_program import PROGRAMS
from tests.window_steps import padded, steps, steps_with_a_last

TOLERANCE = 1e-5  # of the largest output


def in_onnxruntime(model: bytes, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(["output"], {"input": x})[0]


def in_openvino(model: bytes, x: np.ndarray) -> np.ndarray:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed here")
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return core.compile_model(core.read_model(model), "CPU", settings)({"input": x})["output"]


RUNTIMES = pytest.mark.parametrize("run", [in_onnxruntime, in_openvino])


def assert_answers_as_the_engine(program: Program, run=in_onnxruntime, scale: float = 1.0) -> None:
    model = to_onnx(program).SerializeToString()
    engine = Runtime(program)
    x = scale * np.random.default_rng(0).standard_normal((5, *engine.input_shape)).astype(np.float32)
    for batch in (1, 5):
        expected = engine(x[:batch])
        result = run(model, x[:batch])
        assert result.dtype == np.float32
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize(("batch", "sequence"), [(1, 1), (2, 7)])
def test_several_inputs_and_outputs_keep_their_names_and_sizes(batch, sequence):
    program = test_values.two_inputs()
    session = onnxruntime.InferenceSession(to_onnx(program).SerializeToString())
    assert [(each.name, each.shape) for each in session.get_inputs()][1] == ("mask", ["batch", "sequence", 1])
    shapes = {"tokens": (batch, sequence, 8), "mask": (batch, sequence, 1), "vector": (batch, 1, 8)}
    given = {name: np.random.default_rng(0).standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    expected = Runtime(program)(**given)
    for name, answer in zip(expected, session.run(None, given), strict=True):
        np.testing.assert_allclose(answer, expected[name], rtol=1e-6)


@RUNTIMES
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_kind_of_operation_and_of_layer(name, run):
    assert_answers_as_the_engine(PROGRAMS[name](), run)


@RUNTIMES
@pytest.mark.parametrize("name", EXPORTED)
def test_networks_as_people_write_them(name, run):
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    assert_answers_as_the_engine(sparbor.deploy(settled(build()), torch.zeros(1, *shape)).program, run)


@RUNTIMES
def test_a_sparse_model(run):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(70, 64), nn.GELU(), nn.Linear(64, 33), nn.Softplus(2.0, 0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perforate(model, optimizer, sparbor.Recipe(sparsity=0.9), total_steps=1)  # sparse on every kernel set
    runtime = sparbor.deploy(model, torch.zeros(1, 70))
    assert {layer.kind for layer in runtime.describe()} == {"sparse"}
    assert_answers_as_the_engine(runtime.program, run)


PARAMETERS = {"clamp": [(-0.5, 0.25), (-math.inf, 0.5), (-0.5, math.inf), (0.5, -0.25)], "leaky_relu": [(0.1,)]}
PARAMETERS |= {"elu": [(0.7, 1.0), (1.6732, 1.0507)], "softplus": [(1.0, 20.0), (2.0, 0.5), (0.25, 3.0)]}
CASES = [(name, values) for name, each in ACTIVATIONS.items() if each.in_c for values in PARAMETERS.get(name, [()])]


@RUNTIMES
@pytest.mark.parametrize(("name", "values"), CASES)
def test_activations(name, values, run):
    operation = Operation("activation", (0,), 1, activation=Activation(name, values))
    assert_answers_as_the_engine(Program.of_items(((400,), (400,)), 0, 1, (operation,)), run, scale=3)


def test_a_model_that_does_nothing():
    assert_answers_as_the_engine(Program.of_items(((4,),), 0, 0, ()))


@st.composite
def windows(draw, rank: int, **fields) -> tuple:
    """Fields of a window for planes of this many dimensions, beside those given."""

    def pair(strategy, flat: int) -> tuple[int, int]:
        return (draw(strategy) if rank == 2 else flat, draw(strategy))

    few = st.integers(1, 3)
    shape = {"kernel": pair(few, 1), "stride": pair(few, 1), "dilation": pair(st.integers(1, 2), 1)}
    return {**shape, **fields}


def planes(draw, rank: int, most: int = 8) -> tuple[int, ...]:
    return tuple(draw(st.integers(1, most)) for _ in range(rank))


@st.composite
def convolutions(draw) -> Program:
    rank, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 20))
    fields, sides = draw(windows(rank)), [draw(st.integers(-2, 5)) for _ in range(4)]
    upsample = (draw(st.integers(1, 3)) if rank == 2 else 1, draw(st.integers(1, 3)))
    if max(upsample) > 1:
        fields["stride"] = (1, 1)
    padding = tuple(sides) if rank == 2 else (0, sides[1], 0, sides[3])
    window = Window(**fields, padding=padding, upsample=upsample, groups=groups)
    x = (inputs, *planes(draw, rank))
    plane = planes_of(x).height, planes_of(x).width
    fits = steps(window, *plane)
    assume(min(padded(window, *plane)) > 0 and min(fits) > 0)
    y = (outputs, *fits[2 - rank :])
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    fan_in = inputs // groups * math.prod(window.kernel)
    weight = rng.standard_normal((outputs, fan_in)).astype(np.float32)
    bias = draw(st.sampled_from([None, np.ones(outputs, np.float32)]))
    if draw(st.booleans()):
        layer = pack_by_groups(weight, rng.random(weight.shape) < 0.5, bias, groups)
    else:
        layer = pack_filters(weight, bias)
    return Program.of_items((x, y), 0, 1, (Operation("convolution", (0,), 1, "conv", None, window),), {"conv": layer})


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_convolutions_of_any_window(program):
    assert_answers_as_the_engine(program)


@st.composite
def pools(draw) -> Program:
    """With and without rounding up."""
    rank, channels = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    fields, average = draw(windows(rank, groups=channels)), draw(st.booleans())
    halves = [draw(st.integers(0, size // 2)) for size in fields["kernel"] * 2]
    fields["padding"] = tuple(halves) if rank == 2 else (0, halves[1], 0, halves[3])
    if average:
        fields |= {
            "dilation": (1, 1),
            "include_padding": draw(st.booleans()),
            "divisor": draw(st.sampled_from([0, 0, 5])),
        }
    window = AverageWindow(**fields) if average else Window(**fields)
    x = (channels, *planes(draw, rank))
    plane = planes_of(x).height, planes_of(x).width
    fits = draw(st.sampled_from([steps(window, *plane), steps_with_a_last(window, *plane)]))
    assume(min(fits) > 0 and min(steps(window, *plane)) > 0)
    operation = Operation("average_pool" if average else "max_pool", (0,), 1, settings=window)
    return Program.of_items((x, (channels, *fits[2 - rank :])), 0, 1, (operation,))


@settings(max_examples=150, deadline=None)
@given(pools())
def test_pools_of_any_window(program):
    sees_something = np.isfinite(Runtime(program)(np.zeros((1, *program.items[0]), np.float32))).all()
    assume(sees_something)  # of no pixel at all the maximum is minus infinity here, and the least float in others
    assert_answers_as_the_engine(program)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 2), st.sampled_from(["adaptive_max_pool", "adaptive_average_pool"]))
def test_adaptive_pools_of_any_size(data, rank, kind):
    x, y = ((2, *planes(data.draw, rank, 9)) for _ in range(2))
    assert_answers_as_the_engine(Program.of_items((x, y), 0, 1, (Operation(kind, (0,), 1),)))


def test_a_layer_that_is_used_twice_is_stored_once():
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    once, again = (Operation("linear", (number,), number + 1, "fc") for number in range(2))
    program = Program.of_items(((8,),) * 3, 0, 2, (once, again), {"fc": pack_dense(weight)})
    assert [tensor.name for tensor in to_onnx(program).graph.initializer] == ["fc/weight"]
    assert_answers_as_the_engine(program)


def test_the_file_says_what_it_is(tmp_path: Path):
    program = PROGRAMS["planes"]()
    export_onnx(program, tmp_path / "model.onnx", "planes")
    model = onnx.load(tmp_path / "model.onnx")
    assert (model.producer_name, model.producer_version) == ("sparbor", sparbor.__version__)
    assert model.graph.name == "planes"
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert sparbor.ByteInput(**json.loads(said["byte_input"])) == program.byte_input
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input]
    assert shapes == [["batch", 3, 6, 5]]
    export_onnx(PROGRAMS["rows"](), tmp_path / "model.onnx")
    assert not onnx.load(tmp_path / "model.onnx").metadata_props


def refused(program: Program, text: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=text):
        export_onnx(program, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_an_operation_without_nodes_is_named_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(OPERATORS, "softmax", dataclasses.replace(OPERATORS["softmax"], to_onnx=None))
    refused(PROGRAMS["rows"](), "operation 'softmax' cannot be exported", tmp_path)


@pytest.mark.parametrize(
    ("window", "x", "y", "text"),
    [
        (Window((1, 1), (2, 1), upsample=(2, 1)), (1, 4, 4), (1, 4, 4), "upsamples by .* and has a stride"),
        (Window((3, 1), padding=(1, 0, 1, 0)), (1, 4), (1, 4), "a window of height 3 over rows"),
    ],
)
def test_windows_that_onnx_has_not(window: Window, x, y, text: str, tmp_path: Path):
    layers = {"conv": pack_filters(np.ones((1, math.prod(window.kernel)), np.float32))}
    program = Program.of_items((x, y), 0, 1, (Operation("convolution", (0,), 1, "conv", settings=window),), layers)
    assert np.isfinite(Runtime(program)(np.ones((1, *x), np.float32))).all()
    refused(program, text, tmp_path)


def test_a_model_too_large_for_a_file_is_refused_before_it_is_decoded(tmp_path: Path):
    empty = [np.zeros(0, np.uint16)] * 3
    words = np.zeros((0, 16), np.uint16)
    size = 40000
    layout = SlotLayout(np.zeros(size // 16, np.uint16), *empty)
    layer = SparseLayer(size, size, layout, words, None, None, np.ones(size, np.float32), None)
    program = Program.of_items(((size,), (size,)), 0, 1, (Operation("linear", (0,), 1, "fc"),), {"fc": layer})
    refused(program, "weights take 6,400,000,000 bytes with its zeros", tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model_file.save(PROGRAMS["rows"](), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def export(file: Path, out: Path, *options: str) -> int:
    return main(["export", str(file), "--to", "onnx", "--out", str(out), *options])


def test_the_command_writes_it_and_replaces_only_by_force(file: Path, capsys: pytest.CaptureFixture[str]):
    out = file.with_name("model.onnx")
    assert export(file, out) == 0
    x = np.ones((2, 40), np.float32)
    np.testing.assert_allclose(in_onnxruntime(out.read_bytes(), x), sparbor.load(file)(x), atol=1e-5)
    out.write_text("mine")
    assert export(file, out) == 2
    assert re.search(r"out='.*model.onnx': it is there already; pass --force", capsys.readouterr().err)
    assert out.read_text() == "mine"
    assert export(file, out, "--force", "--name", "rows") == 0
    assert onnx.load(out).graph.name == "rows"


def test_the_command_refuses_what_it_cannot_use(file: Path, capsys: pytest.CaptureFixture[str]):
    assert export(file.with_name("absent"), file.with_name("model.onnx")) == 2
    assert export(file, file.with_name("no") / "model.onnx") == 2
    errors = capsys.readouterr().err.splitlines()
    assert re.match("sparbor: error: could not read .*absent", errors[0])
    assert re.match("sparbor: error: out='.*no/model.onnx': there is no folder '.*no'; make it", errors[1])
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def in_fresh_python(blocked: str, file: Path) -> subprocess.CompletedProcess:
    """The command, where these modules cannot be imported."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked.split()!r})); from sparbor.cli.program import main;"
        f"sys.exit(main(['export', {str(file)!r}, '--to', 'onnx', '--out', {str(file.with_name('model.onnx'))!r}]))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_the_command_needs_onnx_and_neither_torch_nor_the_engine(file: Path):
    refusal = in_fresh_python("onnx", file)
    assert refusal.returncode == 2
    assert re.fullmatch(
        r"sparbor: error: to='onnx' needs onnx, which is not installed: run `pip install 'sparbor\[onnx\]'`\n",
        refusal.stderr,
    )
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    done = in_fresh_python("torch sparbor._native", file)
    assert done.returncode == 0, done.stderr
