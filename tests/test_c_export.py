"""The answers of exported C code against the engine's, on this machine and others, and its size."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sparbor
from bench.job.models import TASKS
from sparbor.engine.runtime import Runtime
from sparbor.export.c.constants import literal
from sparbor.export.c.memory import plan_memory
from sparbor.export.c.spans import spans
from sparbor.export.c.target import export_c
from sparbor.ops.activations import ACTIVATIONS
from sparbor.ops.table import OPERATORS
from sparbor.packing.slots import Encoding, pack
from sparbor.program.program import Activation, Operation, Order, Program
from sparbor.program.windows import Planes, Window
from sparbor.train.perforator import perforate
from tests.c_programs import MACHINES, STRICT, Compiled, build, needs, scores
from tests.layers import mlp, random_mask, random_weight
from tests.networks import EXPORTED, NETWORKS, settled
from tests.quantized_network import network_program
from tests.test_program import planes_program, rows_program
from tests.window_steps import padded, steps

LIMIT = 1e-5  # of the largest output


@pytest.fixture(autouse=True)
def _portable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARBOR_ISA", "portable")


def assert_like_engine(compiled: Compiled, x: np.ndarray, limit: float = LIMIT) -> None:
    expected = Runtime(compiled.program)(x)
    assert np.abs(expected).max() > 0
    assert np.abs(compiled(x) - expected).max() <= limit * np.abs(expected).max()


def random_batch(program: Program, items: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((items, *program.items[program.input])).astype(np.float32)


def deployed(model: nn.Module, shape: tuple[int, ...], sparsity: float = 0.8, **options: object) -> Program:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perforate(model, optimizer, sparbor.Recipe(sparsity=sparsity), total_steps=1)
    return sparbor.deploy(settled(model), torch.zeros(1, *shape), **options).program


@pytest.fixture(scope="module")
def mnist() -> Program:
    torch.manual_seed(0)
    return deployed(TASKS["mnist"].build(), (28, 28), 0.9, byte_input=TASKS["mnist"].byte_input)


@pytest.mark.parametrize(
    ("name", "weights"),
    [(name, "word16") for name in EXPORTED] + [(name, "exact") for name in ("autoencoder", "densenet", "sequences")],
)
def test_a_network_answers_as_on_the_engine(name: str, weights: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build_network, shape = NETWORKS[name]
    program = deployed(build_network(), shape, weights=weights)
    compiled = Compiled(program, tmp_path)
    assert_like_engine(compiled, random_batch(program, 2))


def gates_program() -> Program:
    """Each channel times its own mean, plus it, less what there was, and divided by a sigmoid of the mean."""
    operations = (
        Operation("adaptive_average_pool", (0,), 1),
        Operation("multiply", (0, 1), 2),
        Operation("add", (1, 2), 3),
        Operation("subtract", (3, 0), 4),
        Operation("activation", (1,), 5, activation=Activation("sigmoid")),
        Operation("divide", (4, 5), 6),
    )
    plane, mean = (5, 6, 7), (5, 1, 1)
    return Program.of_items((plane, mean, plane, plane, plane, mean, plane), 0, 6, operations)


def permuted_program() -> Program:
    """Planes turned to pixels, and those to rows of all that have a column."""
    orders = (
        Operation("permute", (0,), 1, settings=Order((0, 2, 3, 1))),
        Operation("permute", (1,), 2, settings=Order((0, 3, 2, 1))),
    )
    return Program.of_items(((5, 6, 7), (6, 7, 5), (5, 7, 6)), 0, 2, orders)


PROGRAMS = {
    "permuted": permuted_program(),
    "rows": rows_program(),
    "planes": planes_program(),
    "gates": gates_program(),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_every_kind_of_operation_and_layer(program: Program, tmp_path: Path) -> None:
    compiled = Compiled(program, tmp_path)
    assert_like_engine(compiled, random_batch(program))


def test_those_programs_have_every_kind() -> None:
    programs = [*PROGRAMS.values(), network_program()]  # tests/test_quantized_export.py runs the last
    operations = [operation for program in programs for operation in program.operations]
    in_c = {kind for kind, operator in OPERATORS.items() if operator.to_c is not None}
    assert {operation.kind for operation in operations} == in_c


@pytest.mark.parametrize("name", sorted(name for name, each in ACTIVATIONS.items() if each.in_c))
def test_an_activation(name: str, tmp_path: Path) -> None:
    parameters = {"low": -0.5, "high": float("inf"), "slope": 0.1, "alpha": 1.5, "scale": 0.7, "beta": 2.0}
    values = tuple(parameters.get(parameter, 3.0) for parameter in ACTIVATIONS[name].parameters)
    operations = (Operation("activation", (0,), 1, None, Activation(name, values)),)
    compiled = Compiled(Program.of_items(((200,), (200,)), 0, 1, operations), tmp_path)
    x = np.concatenate([np.linspace(-9, 9, 196), [100, -100, 0, -0.0]]).astype(np.float32)[None]
    assert_like_engine(compiled, x)


@pytest.mark.parametrize("encoding", [Encoding.WORD16, Encoding.EXACT, None])
@pytest.mark.parametrize("sizes", [(1, 1), (5, 17, 3), (33, 16, 15, 1), (100, 64, 10)], ids=str)
def test_mlps_of_any_size(sizes: tuple[int, ...], encoding: Encoding | None, tmp_path: Path) -> None:
    program = mlp(sizes, 0.5, encoding)
    assert_like_engine(Compiled(program, tmp_path), random_batch(program))


@pytest.mark.parametrize("encoding", [Encoding.WORD16, Encoding.EXACT])
def test_a_nan_reaches_only_the_neurons_that_read_it(encoding: Encoding, tmp_path: Path) -> None:
    """Also where a neuron has fewer synapses than its group: its padding has an input's index, and must not read it."""
    rng = np.random.default_rng(0)
    mask = random_mask(rng, 16, 64, 0.3)
    layer = pack(random_weight(rng, 16, 64), mask, None, encoding)
    assert layer.padded
    compiled = Compiled(
        Program.of_items(((64,), (16,)), 0, 1, (Operation("linear", (0,), 1, "x"),), {"x": layer}), tmp_path
    )
    assert_like_engine(compiled, random_batch(compiled.program))
    x = np.where(np.arange(64) % 32 == 0, np.nan, np.ones((1, 64))).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(compiled(x)[0]), mask[:, ::32].any(1))
    assert not mask[:, ::32].any(1).all()


def test_a_layer_without_synapses_gives_its_bias(tmp_path: Path) -> None:
    program = Program.of_items(
        ((40,), (20,)),
        0,
        1,
        (Operation("linear", (0,), 1, "empty"),),
        {"empty": pack(np.ones((20, 40), np.float32), np.zeros((20, 40), bool), np.ones(20, np.float32))},
    )
    assert_like_engine(Compiled(program, tmp_path), random_batch(program))


def test_a_program_that_computes_nothing(tmp_path: Path) -> None:
    program = Program.of_items(((2, 3), (6,)), 0, 1, (Operation("reshape", (0,), 1),))
    x = random_batch(program)
    np.testing.assert_array_equal(Compiled(program, tmp_path)(x), x.reshape(3, 6))


def test_images_of_bytes(mnist: Program, tmp_path: Path) -> None:
    compiled = Compiled(mnist, tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    assert_like_engine(compiled, images)
    assert_like_engine(compiled, TASKS["mnist"].normalise(torch.from_numpy(images)).numpy())


def test_null_is_refused(mnist: Program, tmp_path: Path) -> None:
    library = Compiled(mnist, tmp_path).library
    for function in (library.model_run, library.model_run_u8):
        assert [function(None, None), function(None, b"out"), function(b"in", None)] == [1, 1, 1]


def test_the_mnist_model_fits_a_small_board(mnist: Program, tmp_path: Path) -> None:
    needs("gcc", "size")
    written = export_c(mnist, tmp_path)
    subprocess.run(["gcc", *STRICT, "-O2", "-c", "model.c"], cwd=tmp_path, check=True)
    done = subprocess.run(["size", "model.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
    assert written.flash_bytes < text + data <= 80 * 1024
    assert written.ram_bytes <= data + bss <= 8 * 1024


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_classify_on_other_machines(machine: str, mnist: Program, tmp_path: Path) -> None:
    export_c(mnist, tmp_path)
    command = build(tmp_path, machine)
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
    floats = TASKS["mnist"].normalise(torch.from_numpy(image)).numpy()
    for content in (image, floats):
        (tmp_path / "image").write_bytes(content.tobytes())
        found, best = scores(command, tmp_path / "image")
        expected = Runtime(mnist)(content)[0]
        assert np.abs(found - expected).max() <= LIMIT * np.abs(expected).max()
        assert best == expected.argmax()


@pytest.mark.parametrize("machine", sorted(MACHINES))
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_every_operation_on_other_machines(machine: str, program: Program, tmp_path: Path) -> None:
    export_c(program, tmp_path)
    command = build(tmp_path, machine)
    x = random_batch(program, 1)
    (tmp_path / "image").write_bytes(x.tobytes())
    expected = Runtime(program)(x)[0].ravel()
    assert np.abs(scores(command, tmp_path / "image")[0] - expected).max() <= LIMIT * np.abs(expected).max()


@pytest.mark.parametrize("machine", ["aarch64", "arm"])
def test_a_network_on_other_machines(machine: str, tmp_path: Path) -> None:
    """Whose compilers see other loops to warn of."""
    torch.manual_seed(0)
    build_network, shape = NETWORKS["densenet"]
    program = deployed(build_network(), shape)
    export_c(program, tmp_path)
    command = build(tmp_path, machine)
    x = random_batch(program, 1)
    (tmp_path / "image").write_bytes(x.tobytes())
    expected = Runtime(program)(x)[0]
    assert np.abs(scores(command, tmp_path / "image")[0] - expected).max() <= LIMIT * np.abs(expected).max()


def test_classify_says_what_is_wrong_with_an_image(mnist: Program, tmp_path: Path) -> None:
    export_c(mnist, tmp_path)
    command = build(tmp_path, "x86-64")
    for size in (0, 783, 785, 784 * 4 - 1, 784 * 4 + 1, 784 * 8):
        (tmp_path / "image").write_bytes(bytes(size))
        done = subprocess.run([*command, str(tmp_path / "image")], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, ""), size
        assert done.stderr.endswith("784 bytes or 784 floats are needed\n")
    missing = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True)
    assert missing.returncode == 2
    assert "No such file" in missing.stderr


axes = st.tuples(
    *(st.integers(1, 5), st.integers(1, 6), st.integers(1, 3), st.integers(1, 6)),  # kernel, stride, dilation, upsample
    *(st.integers(-2, 4), st.integers(-2, 4), st.integers(1, 9)),  # padding before and after, size
)


@settings(max_examples=200, deadline=None)
@given(axes)
def test_spans_are_where_the_window_meets_the_plane(axis: tuple[int, ...]) -> None:
    kernel, stride, dilation, upsample, before, after, size = axis
    window = Window((1, kernel), (1, stride), (0, before, 0, after), (1, dilation), (1, upsample))
    _, outputs = steps(window, 1, size)
    if outputs < 1 or padded(window, 1, size)[1] < 1:
        return
    _, across = spans(window, Planes(1, 1, size), Planes(1, 1, outputs))
    for place, span in enumerate(across):
        found = [(span.first + i * span.step, span.at + i * span.move) for i in range(span.length)]
        under = [(o, o * stride + place * dilation - before) for o in range(outputs)]
        assert found == [(o, at // upsample) for o, at in under if at % upsample == 0 and 0 <= at // upsample < size]


def test_values_in_use_share_no_memory() -> None:
    """An add needs both of its inputs, so they lie apart; what is no longer needed is overwritten."""
    relu = Activation("relu")
    operations = (
        Operation("activation", (0,), 1, None, relu),
        Operation("activation", (1,), 2, None, relu),
        Operation("add", (1, 2), 3),
        Operation("activation", (3,), 4, None, relu),
        Operation("add", (3, 4), 5),
    )
    places = plan_memory(Program.of_items(((8,),) * 6, 0, 5, operations)).places
    assert (places[0], places[5]) == ("in", "out")
    assert places[1] != places[2]
    assert places[3] != places[4]
    assert len(set(places[1:5])) == 2


@given(st.floats(width=32, allow_nan=False))
def test_literals_are_exact(value: float) -> None:
    text = literal(value).replace("INFINITY", "inf")
    assert np.float32(text.removesuffix("f") if "inf" not in text else text) == np.float32(value)
