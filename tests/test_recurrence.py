"""LSTM, GRU and RNN in the engine: PyTorch is the oracle, at several lengths, in both directions, sparse and dense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import sparbor
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.export.onnx.target import to_onnx
from sparbor.packing.dense_weights import pack_dense
from sparbor.program.program import ElmanRecurrence, Operation, Program, Recurrence, Slice
from tests.kernel_sets import KERNEL_SETS
from tests.layers import slot_mask
from tests.test_recurrent_layers import MODELS, begin, train
from tests.test_values import f32, isa, numbers, program

__all__ = ["isa"]  # a fixture
FORWARDS = Recurrence(False)
SIZES = [(1, 1), (5, 7), (1, 100), (5, 100)]  # items and steps


class Whole(nn.Module):
    """A recurrent layer, all that it returns, and perhaps all that it takes; the batch first."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, h: Tensor | None = None, c: Tensor | None = None) -> Any:
        states = [each.transpose(0, 1).contiguous() for each in (h, c) if each is not None]
        x = x if self.layer.batch_first else x.transpose(0, 1)
        y, last = self.layer(x, tuple(states) if len(states) > 1 else states[0] if states else None)
        y = y if self.layer.batch_first else y.transpose(0, 1)
        return y, *(each.transpose(0, 1) for each in (last if isinstance(last, tuple) else (last,)))


LAYERS = {
    "lstm": lambda: nn.LSTM(24, 40, batch_first=True),
    "lstm, stacked, both ways": lambda: nn.LSTM(24, 20, 2, bidirectional=True),
    "lstm without biases": lambda: nn.LSTM(24, 36, bias=False),
    "gru": lambda: nn.GRU(24, 40),
    "gru, stacked, both ways": lambda: nn.GRU(24, 16, 2, bidirectional=True, batch_first=True),
    "rnn, both ways": lambda: nn.RNN(24, 33, bidirectional=True, batch_first=True),
    "rnn of relu": lambda: nn.RNN(24, 40, 2, nonlinearity="relu"),
}


def made(name: str, sparsity: float) -> Whole:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    random = np.random.default_rng(0)
    with torch.no_grad():
        for key, weight in layer.named_parameters():
            if sparsity and key.startswith("weight"):
                weight *= torch.from_numpy(slot_mask(random, *weight.shape, 1 - sparsity))
                weight *= 2
    return Whole(layer).eval()


def inputs(model: Whole, items: int, steps: int, given: bool) -> tuple[Tensor, ...]:
    layer, random = model.layer, torch.Generator().manual_seed(steps)
    x = torch.randn(items, steps, layer.input_size, generator=random)
    states = (2 if isinstance(layer, nn.LSTM) else 1) if given else 0
    depth = layer.num_layers * (1 + layer.bidirectional)
    return x, *(torch.randn(items, depth, layer.hidden_size, generator=random) for _ in range(states))


def check(runtime: Runtime, model: nn.Module, given: tuple[Tensor, ...], most: float) -> None:
    wanted = model(*given)
    for each, value in zip(runtime(*given).values(), wanted, strict=True):
        assert each.shape == value.shape
        assert float((each - value).norm()) <= most * float(value.norm())


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
@pytest.mark.parametrize("given", [False, True])
def test_sequences_of_any_length(name: str, sparsity: float, given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced once for all kernel sets, which takes longer than all of them."""
    model = made(name, sparsity)
    exact = sparbor.deploy(model, inputs(model, 2, 9, given), weights="exact")
    assert {each.kind for each in exact.describe()} == {"sparse" if sparsity else "dense"}
    rounded = sparbor.deploy(model, inputs(model, 2, 9, given))
    for kernels in KERNEL_SETS:
        monkeypatch.setenv("SPARBOR_ISA", kernels)
        for deployed, most in ((exact, 1e-5), (rounded, 2e-2)):
            runtime = Runtime(deployed.program)
            for items, steps in SIZES:
                check(runtime, model, inputs(model, items, steps, given), most)


def test_each_weight_is_a_layer_by_its_own_name() -> None:
    model = made("lstm, stacked, both ways", 0.9)
    runtime = sparbor.deploy(model, inputs(model, 2, 9, False))
    assert [each.name for each in runtime.describe()] == [
        f"layer.weight_{part}_l{at}{way}" for at in (0, 1) for way in ("", "_reverse") for part in ("ih", "hh")
    ]


def test_threads_and_many_items(isa: str) -> None:
    """Enough of both that groups of neurons, and items, are split."""
    torch.manual_seed(0)
    model = Whole(nn.LSTM(16, 200, batch_first=True)).eval()
    runtime = sparbor.deploy(model, inputs(model, 2, 3, False), weights="exact", threads=2)
    with torch.no_grad():
        check(runtime, model, inputs(model, 120, 3, False), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_what_was_trained_sparse_runs_sparse(name: str, tmp_path: Path) -> None:
    model, optimizer, perforator = begin(name)
    with torch.enable_grad():
        train(model, optimizer)
    x = torch.randn(3, 5, 24)
    if name == "LSTM with projections":
        with pytest.raises(ArgumentError, match=r"projections \(proj_size\), which the engine does not have"):
            sparbor.deploy(model.eval(), x)
        return
    runtime = sparbor.deploy(model.eval(), x, weights="exact")
    layers = {each.name.partition(":")[0]: each.kind for each in runtime.describe()}
    assert {key: "sparse" for key in perforator.modules if "weight" in key}.items() <= layers.items()
    lengths = (5,) if "Cell" in name else (1, 5, 60)
    for encoding, most in (("exact", 1e-5), ("word16", 5e-2)):
        runtime = sparbor.deploy(model, x, weights=encoding)
        runtime.save(tmp_path / "model")
        again = sparbor.load(tmp_path / "model")
        for length in lengths:
            x = torch.randn(2, length, 24)
            wanted = model(x)
            assert float((runtime(x) - wanted).norm()) <= most * float(wanted.norm())
            assert torch.equal(runtime(x), again(x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn of relu"])
def test_step_by_step_is_as_the_whole_sequence(isa: str, name: str) -> None:
    model = made(name, 0.9)
    whole = sparbor.deploy(model, inputs(model, 2, 9, True), weights="exact")
    states = tuple((each.name, f"output_{at}") for at, each in enumerate(whole.inputs[1:], 1))
    session = sparbor.Session(Runtime(replace(whole.program, states=states)))
    x, *_ = inputs(model, 3, 20, False)
    wanted = model(x)[0]
    for first, last in ((0, 1), (1, 2), (2, 10), (10, 20)):
        part = session(x[:, first:last].contiguous())
        torch.testing.assert_close(part, wanted[:, first:last], rtol=1e-5, atol=1e-6)


def test_a_sequence_of_one_item_without_a_batch() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(8, 16, bidirectional=True)

        def forward(self, x: Tensor) -> Any:
            return self.layer(x)

    torch.manual_seed(0)
    model = Alone().eval()
    runtime = sparbor.deploy(model, torch.randn(6, 8), weights="exact")
    for length in (1, 30):
        x = torch.randn(length, 8)
        for mine, wanted in zip(runtime(x).values(), model(x), strict=True):
            torch.testing.assert_close(mine, wanted.detach(), rtol=1e-5, atol=1e-6)


def test_a_packed_sequence_is_refused() -> None:
    class Packing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(8, 16, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            packed = pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True)
            last: Tensor = self.layer(packed)[1]
            return last

    with pytest.raises(ArgumentError, match="give its recurrent layers the padded batch"):
        sparbor.deploy(Packing(), torch.randn(2, 3, 8))


def by_hand(kind: str, gates: int, *states: Any, units: int = 8, settings: Any = FORWARDS, out: int = 8) -> Any:
    values = [f32("batch", "sequence", gates), *states, f32("batch", "sequence", out)]
    names = " ".join(f"{name}{at}" for at, name in enumerate("xhc"[: 1 + len(states)]))
    layers = {"state": pack_dense(numbers(gates, units) / 4, numbers(gates))}
    operation = Operation(kind, tuple(range(1 + len(states))), 1 + len(states), "state", settings=settings)
    return program(values, names, f"y{1 + len(states)}", operation, layers=layers)


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (by_hand("gru", 32), "not as many outputs as its cells have gates"),
        (by_hand("lstm", 24, out=16), "not as many outputs as its cells have gates"),
        (by_hand("lstm", 32, f32("batch", 8), out=16), "some of its states and not all"),
        (by_hand("gru", 24, f32("batch", 9)), r"a state is not \(items, cells\)"),
        (by_hand("gru", 24, f32(2, 8)), r"a state is not \(items, cells\)"),
        (by_hand("gru", 24, f32("batch", 8), f32("batch", 8)), "of 3 inputs"),
        (by_hand("gru", 24, out=9), "cannot take shape"),
        (by_hand("rnn", 8), "settings"),
        (by_hand("gru", 24, settings=ElmanRecurrence(False, True)), "settings"),
        (by_hand("gru", 24, settings=Slice(0, 0, 1)), "settings"),
    ],
)
def test_operations_that_cannot_be(made: Program, fault: str) -> None:
    with pytest.raises(ArgumentError, match=fault):
        Runtime(made)


def test_backwards_by_hand(isa: str) -> None:
    """The state given is that after the last step."""
    gates, first = numbers(2, 5, 8), numbers(2, 8)
    made = by_hand("rnn", 8, f32("batch", 8), settings=ElmanRecurrence(True, False))
    weight, bias = made.layers["state"].unpack()[0], made.layers["state"].bias
    h, wanted = first, []
    for at in range(4, -1, -1):
        h = np.tanh(gates[:, at] + h @ weight.T + bias)
        wanted.insert(0, h)
    np.testing.assert_allclose(Runtime(made)(gates, first), np.stack(wanted, 1), rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("given", [False, True])
def test_as_an_onnx_file(name: str, given: bool) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = made(name, 0.9)
    example = inputs(model, 2, 9, given)
    free = {each: {0: "batch"} for each in ("x", "h", "c")[: len(example)]}
    program = sparbor.deploy(model, example, weights="exact", dynamic_shapes=free).program
    file = to_onnx(program)
    assert [each.op_type for each in file.graph.node].count("MatMul") == 0, "the gates' layer is within the node"
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    call = inputs(model, 3, 9, given)
    answers = session.run(None, {port.name: each.numpy() for port, each in zip(program.inputs, call, strict=True)})
    for each, wanted in zip(answers, model(*call), strict=True):
        np.testing.assert_allclose(each, wanted, rtol=1e-4, atol=1e-6)


def test_what_onnx_cannot_say_is_refused() -> None:
    with pytest.raises(ArgumentError, match="what its cells remember is read after other steps than the last"):
        to_onnx(lstm_of(Slice(2, 8, 1), 8))
    with pytest.raises(ArgumentError, match="its input is not what a linear layer computes"):
        to_onnx(by_hand("gru", 24))


def lstm_of(part: Slice, size: int) -> Program:
    """A linear layer, an LSTM of 8 cells, and a part of its states."""
    values = [f32("batch", 3, 4), f32("batch", 3, 32), f32("batch", 3, 16), f32("batch", 3, size)]
    return program(
        values,
        "x0",
        "y3",
        Operation("linear", (0,), 1, "input"),
        Operation("lstm", (1,), 2, "state", settings=FORWARDS),
        Operation("slice", (2,), 3, settings=part),
        layers={"input": pack_dense(numbers(32, 4)), "state": pack_dense(numbers(32, 8))},
    )
