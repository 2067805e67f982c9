"""`sparbor.sparsify` on whole models: which layers, in which order, from which inputs, and what is refused."""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sparbor
from sparbor.errors import ArgumentError
from sparbor.nn.neuron import PAINeuronModule
from sparbor.oneshot.report import SparsifyReport

torch.set_num_threads(1)

UNSTRUCTURED = sparbor.Unstructured()


def mlp(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [part for one, other in itertools.pairwise(sizes) for part in (nn.Linear(one, other), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def inputs(*shape: int, seed: int = 0) -> Tensor:
    """Rows whose features depend on each other."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(shape[-1], shape[-1], generator=random) * torch.logspace(0, -1.5, shape[-1])
    return torch.randn(shape, generator=random) @ mix + 0.5


def error(model: nn.Module, dense: nn.Module, x: Any) -> float:
    with torch.no_grad():
        wanted = dense.eval()(x)
        return float((model.eval()(x) - wanted).norm() / wanted.norm())


def layers(model: nn.Module) -> dict[str, PAINeuronModule]:
    return {name: module for name, module in model.named_modules() if isinstance(module, PAINeuronModule)}


@pytest.mark.parametrize("pattern", [sparbor.Slots(), sparbor.Quads(), UNSTRUCTURED, sparbor.NM(2, 4)])
def test_a_sparse_model_answers_better_by_the_second_order_than_by_cheaper_methods(pattern: Any) -> None:
    dense, x = mlp(64, 96, 64, 32), inputs(500, 64)
    errors = {}
    for method in ("magnitude", "wanda", "second-order"):
        model = copy.deepcopy(dense)
        report = sparbor.sparsify(model, [x[:250], x[250:]], 0.5, method=method, pattern=pattern)
        errors[method] = error(model, dense, inputs(500, 64, seed=0))
        assert {name: row.mode for name, row in layers(model).items()} == dict.fromkeys("024", "d")
        assert all(abs(layer.get_sparsity() - 0.5) < 0.02 for layer in layers(model).values())
        assert all((layer.weight[~layer.mask] == 0).all() for layer in layers(model).values())
        assert report.density == pytest.approx(0.5, abs=0.01)
    assert errors["second-order"] < 0.7 * min(errors["wanda"], errors["magnitude"])


def test_the_errors_that_it_reports_are_those_of_its_layers() -> None:
    dense, x = mlp(32, 48, 16), inputs(400, 32)
    model = copy.deepcopy(dense)
    report = sparbor.sparsify(model, [x], 0.5)
    with torch.no_grad():
        for number, row in zip((0, 2), report.rows, strict=True):
            wanted = dense[: number + 1](x)
            left = float((model[: number + 1](x) - wanted).norm() / (wanted - wanted.mean(0)).norm())
            assert row.error == pytest.approx(left, rel=1e-3)


def test_later_layers_make_up_for_earlier_ones() -> None:
    dense, x = mlp(64, 64, 64), inputs(600, 64)
    model = copy.deepcopy(dense)
    report = sparbor.sparsify(model, [x], 0.5, layers={"2": 0.0})
    second = copy.deepcopy(model)
    with torch.no_grad():
        second[2].main_module.weight.copy_(dense[2].weight)
        second[2].main_module.bias.copy_(dense[2].bias)
    assert error(model, dense, x) < 0.9 * error(second, dense, x)
    assert [row.density for row in report.rows] == [0.5, 1.0]


class Attention(nn.Module):
    """Projections that read one input, called in another order than they stand in, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.out, self.unused, self.query, self.key = (nn.Linear(32, 32) for _ in range(4))

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        answer: Tensor = self.out(torch.tanh(self.query(x) * self.key(x)))
        return answer


def test_layers_are_pruned_as_they_are_called_and_those_that_read_the_same_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pruned: list[list[str]] = []

    def _told(_: object, parts: list[str], said: str) -> None:
        pruned.append(parts)

    monkeypatch.setattr("sparbor.oneshot.progress.Progress.done", _told)
    report = sparbor.sparsify(Attention(), [inputs(8, 10, 32)])
    assert pruned == [["query", "key"], ["out"], ["unused"]]
    assert {row.name: (row.method, row.why) for row in report.rows} == {
        "out": ("second-order", ""),
        "unused": ("magnitude", "no batch reaches it"),
        "query": ("second-order", ""),
        "key": ("second-order", ""),
    }


def test_padded_tokens_count_for_nothing() -> None:
    x, mask = inputs(8, 10, 32), torch.ones(8, 10)
    mask[:, 6:] = 0
    padded = torch.where(mask[..., None] > 0, x, 100.0)
    models = [Attention() for _ in range(3)]
    sparbor.sparsify(models[0], [{"x": x[:, :6]}])
    sparbor.sparsify(models[1], [{"x": padded, "attention_mask": mask, "labels": torch.zeros(8)}])
    sparbor.sparsify(models[2], [(padded, mask)])
    for name, module in layers(models[0]).items():
        for other in models[1:]:
            torch.testing.assert_close(module.weight, layers(other)[name].weight, rtol=1e-3, atol=1e-4)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other, self.last = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 16)
        self.other.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(torch.relu(self.other(torch.relu(self.one(x)))))
        return y


def test_tied_weights_have_one_mask_and_fit_all_who_have_them() -> None:
    dense, x = Tied(), inputs(400, 32)
    errors = {}
    for method in ("magnitude", "second-order"):
        model = copy.deepcopy(dense)
        report = sparbor.sparsify(model, [x], 0.5, method=method)
        assert model.other.weight is model.one.main_module.weight
        assert torch.equal(model.one.main_module.bias, dense.one.bias)  # one bias cannot make up for two layers
        errors[method] = error(model, dense, x)
    assert errors["second-order"] < 0.8 * errors["magnitude"]
    assert [row.why for row in report.rows] == ["", "it has the weight and the mask of one", ""]


def test_a_layer_that_is_called_twice_is_fitted_to_both_calls() -> None:
    torch.manual_seed(0)
    layer, head = nn.Linear(32, 32), nn.Linear(32, 8)
    dense, x = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), head), inputs(300, 32)
    model = copy.deepcopy(dense)
    report = sparbor.sparsify(model, [x], 0.5)
    assert model[0] is model[2]
    assert isinstance(model[0], PAINeuronModule)
    assert error(model, dense, x) < 0.6
    assert [row.method for row in report.rows] == ["second-order"] * 2


CONVOLUTIONS: dict[str, Callable[[], nn.Module]] = {
    "1d": lambda: nn.Sequential(nn.Conv1d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, 16, 3)),
    "2d": lambda: nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.Conv2d(32, 16, 3)),
    "3d": lambda: nn.Sequential(nn.Conv3d(16, 16, 2), nn.ReLU()),
    "grouped": lambda: nn.Sequential(nn.Conv2d(16, 32, 3, groups=2), nn.ReLU()),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(16, 32, 3, stride=2), nn.ReLU()),
}


@pytest.mark.parametrize("pattern", [sparbor.Slots(), sparbor.Quads()])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions(kind: str, pattern: Any) -> None:
    torch.manual_seed(0)
    dense = CONVOLUTIONS[kind]().eval()
    planes = {"1d": 1, "3d": 3}.get(kind, 2)
    x = inputs(6, *[5] * planes, 16).movedim(-1, 1)
    errors = {}
    for method in ("magnitude", "wanda", "second-order"):
        model = copy.deepcopy(dense)
        report = sparbor.sparsify(model, [x], 0.5, method=method, pattern=pattern)
        assert report.rows[0].method == method
        errors[method] = error(model, dense, x)
    assert errors["second-order"] < 0.8 * min(errors["magnitude"], errors["wanda"])


def test_a_convolution_becomes_what_the_linear_layer_of_its_patches_becomes() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(16, 32, 2, stride=2), inputs(40, 8, 8, 16).movedim(-1, 1)
    linear = nn.Linear(64, 32)
    with torch.no_grad():
        linear.weight.copy_(conv.weight.flatten(1))
        linear.bias.copy_(conv.bias)
    one, other = nn.Sequential(conv), nn.Sequential(linear)
    patches = torch.nn.functional.unfold(x, 2, stride=2).mT.reshape(-1, 64)
    sparbor.sparsify(one, [x[:20], x[20:]])
    sparbor.sparsify(other, [patches])
    assert torch.equal(one[0].mask.flatten(1), other[0].mask)
    torch.testing.assert_close(one[0].weight.flatten(1), other[0].weight, rtol=1e-3, atol=1e-4)


def test_hugging_faces_conv1d_is_a_linear_layer_with_its_weight_turned() -> None:
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(0)
    turned, linear, x = Conv1D(32, 64), nn.Linear(64, 32), inputs(300, 64)
    with torch.no_grad():
        linear.weight.copy_(turned.weight.T)
        linear.bias.copy_(turned.bias)
    one, other = nn.Sequential(turned), nn.Sequential(linear)
    sparbor.sparsify(one, [x])
    sparbor.sparsify(other, [x])
    assert torch.equal(one[0].mask.T, other[0].mask)
    torch.testing.assert_close(one[0].weight.T, other[0].weight, rtol=1e-4, atol=1e-5)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(32, 32, batch_first=True)
        self.attention = nn.MultiheadAttention(32, 2, batch_first=True)
        self.head = nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.lstm(x)
        x, _ = self.attention(x, x, x)
        y: Tensor = self.head(x)
        return y


def test_what_hooks_cannot_see_is_pruned_by_magnitude_and_said() -> None:
    model = Recurrent()
    report = sparbor.sparsify(model, [torch.randn(16, 6, 32)])
    said = {row.name: (row.method, row.density, row.why[:10]) for row in report.rows}
    unseen = ("magnitude", 0.5, "its inputs")
    assert said == {
        "lstm.weight_ih_l0": unseen,
        "lstm.weight_hh_l0": unseen,
        "attention.in_proj_weight": unseen,
        "attention.out_proj": unseen,
        "head": ("second-order", 0.5, ""),
    }
    assert torch.isfinite(model(torch.randn(2, 3, 32))).all()


def test_a_transformer_layer_that_evaluates_calls_its_parts() -> None:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)
    model = nn.TransformerEncoder(block, 2)
    report = sparbor.sparsify(model, [torch.randn(4, 6, 32)])
    methods = {row.name: row.method for row in report.rows if row.method}
    assert {name for name, method in methods.items() if method == "second-order"} == {
        f"layers.{number}.linear{which}" for number in (0, 1) for which in (1, 2)
    }


class Experts(nn.Module):
    """A router sends each row to one of two layers, by what an earlier layer makes of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.left, self.right = nn.Linear(32, 32), nn.Linear(32, 16), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        to_left = x[:, 0] > 0
        y = x.new_empty(len(x), 16)
        y[to_left], y[~to_left] = self.left(x[to_left]), self.right(x[~to_left])
        return y


def test_rows_that_only_the_sparse_model_has_are_fitted_to_the_dense_weight() -> None:
    report = sparbor.sparsify(Experts(), [inputs(200, 32)], 0.8)
    assert [row.why[:30] for row in report.rows] == ["", *["fitted to its own dense weight"] * 2]


def test_weight_norm() -> None:
    torch.manual_seed(0)
    dense, x = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(32, 32)), nn.ReLU()), inputs(300, 32)
    errors = {}
    for method in ("magnitude", "second-order"):
        model = copy.deepcopy(dense)
        sparbor.sparsify(model, [x], method=method)
        errors[method] = error(model, dense, x)
    assert errors["second-order"] < 0.7 * errors["magnitude"]


def test_who_keeps_what() -> None:
    model = mlp(32, 64, 64, 32)
    report = sparbor.sparsify(model, [inputs(100, 32)], 0.5, exclude=("4",), layers={"0": 0.75, "*": 0.25})
    assert [(row.name, row.density, row.why) for row in report.rows] == [
        ("0", 0.25, ""),
        ("2", 0.75, ""),
        ("4", None, "excluded by the recipe"),
    ]
    assert isinstance(model[4], nn.Linear)
    text = str(report)
    assert "2 of 3 layers are sparse, and keep 58.3 % of their weights; it took" in text
    assert text.splitlines()[1].split()[:5] == ["0", "Linear", "2,112", "25", "%"]
    erk = mlp(32, 64, 128)
    report = sparbor.sparsify(erk, [inputs(100, 32)], 0.5, distribution="erk")
    assert report.density == pytest.approx(0.5, abs=0.01)
    assert report.rows[0].density > 0.55 > report.rows[1].density


def test_a_singular_hessian_is_damped_and_reported() -> None:
    x = torch.randn(5, 64)  # fewer rows than inputs
    report = sparbor.sparsify(mlp(64, 32), [x], damping=0)
    few, damped = report.rows[0].why.split("; ")
    assert few == "5 rows for 64 inputs: pass more items"
    assert damped == "damped by 1e-06: its inputs depend on each other"


@pytest.mark.parametrize("x", [torch.zeros(5, 64), torch.randn(1, 64)])
def test_items_that_are_all_alike_say_nothing_of_weights_and_that_is_reported(x: Tensor) -> None:
    for row in sparbor.sparsify(mlp(64, 64, 32), [x]).rows:
        assert row.density == 0.5
        assert row.error == pytest.approx(0, abs=0.01), "the bias makes up for all that is dropped"
        assert row.why.startswith("its inputs are the same for every item")


BATCHES: dict[str, Callable[[Tensor], Any]] = {
    "a list of tensors": lambda x: [x[:50], x[50:]],
    "tuples": lambda x: [(x[:50],), (x[50:],)],
    "dictionaries": lambda x: [{"input": x[:50]}, {"input": x[50:]}],
    "with labels": lambda x: DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=50),
    "a generator": lambda x: (part for part in x.split(50)),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_batches(kind: str) -> None:
    x, model, same = inputs(100, 32), mlp(32, 48, 16), mlp(32, 48, 16)
    sparbor.sparsify(same, [x[:50], x[50:]])
    sparbor.sparsify(model, BATCHES[kind](x))
    for one, other in zip(model.state_dict().values(), same.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def nan_in_the_model() -> nn.Module:
    class Logarithm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x)

    return nn.Sequential(nn.Linear(32, 32), Logarithm(), nn.Linear(32, 16))


def broken(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    return model


GOOD = [torch.ones(4, 32), torch.randn(4, 32)]
BAD: dict[str, tuple[Callable[[], Any], Any, dict[str, Any], str]] = {
    "no module": (lambda: 3, GOOD, {}, "model is a int: must be a torch.nn.Module"),
    "a tensor": (lambda: mlp(32, 16), GOOD[0], {}, "batches is a Tensor: pass a list of batches"),
    "none": (lambda: mlp(32, 16), [], {}, "batches holds none: pass some hundred items"),
    "no tensors": (lambda: mlp(32, 16), [["x"]], {}, r"batches\[0\] is a list without a tensor"),
    "no items": (lambda: mlp(32, 16), [GOOD[0], GOOD[0][:0]], {}, r"batches\[1\] has a tensor of shape \(0, 32\)"),
    "NaN": (lambda: mlp(32, 16), [GOOD[0], GOOD[0] * torch.nan], {}, r"batches\[1\] holds NaN or infinity"),
    "another model's": (
        lambda: mlp(32, 16),
        [*GOOD, torch.randn(4, 31)],
        {},
        r"batches\[2\] does not run through the model, RuntimeError: ",
    ),
    "another model's names": (lambda: mlp(32, 16), [{"pixels": GOOD[0]}], {}, r"batches\[0\] does not run .*TypeError"),
    "NaN within": (nan_in_the_model, GOOD, {}, "layer '2' is given NaN, infinity or numbers too large"),
    "NaN weights": (lambda: broken(mlp(32, 16)), GOOD, {}, "the weight of layer '0' holds NaN"),
    "no layer": (lambda: nn.Sequential(nn.ReLU()), GOOD, {}, "has no layer that can become dendritic"),
    "a lone layer": (lambda: nn.Linear(32, 16), GOOD, {}, "itself a Linear layer"),
    "on meta": (lambda: nn.Sequential(nn.Linear(32, 16, device="meta")), GOOD, {}, "'0.weight' is on meta"),
    "sparsity": (lambda: mlp(32, 16), GOOD, {"sparsity": 1.0}, "sparsity=1.0: must be at least 0 and below 1"),
    "no sparsity": (lambda: mlp(32, 16), GOOD, {"sparsity": None}, "sparsity=None: must be at least 0"),
    "method": (lambda: mlp(32, 16), GOOD, {"method": "rigl"}, "method='rigl': must be one of 'second-order', 'wanda'"),
    "pattern": (lambda: mlp(32, 16), GOOD, {"pattern": "quads"}, "pattern='quads': must be Slots"),
    "quota": (lambda: mlp(32, 16), GOOD, {"pattern": sparbor.NM(1, 4)}, "cannot keep more than 0.25"),
    "quota of one": (
        lambda: mlp(32, 16),
        GOOD,
        {"pattern": sparbor.NM(2, 4), "layers": {"0": 0.2}},
        r"layers\['0'\]=0.2: NM\(n=2, m=4\) cannot keep more than 0.5",
    ),
    "distribution": (lambda: mlp(32, 16), GOOD, {"distribution": "global"}, "distribution='global': must be one of"),
    "exclude": (lambda: mlp(32, 16), GOOD, {"exclude": ("7",)}, "exclude='7': matches no layer"),
    "all excluded": (lambda: mlp(32, 16), GOOD, {"exclude": ("*",)}, "excluded by the recipe"),
    "layers": (lambda: mlp(32, 16), GOOD, {"layers": {"7": 0.5}}, r"layers\['7'\]=0.5: names no layer .* are 0"),
    "layers' sparsity": (lambda: mlp(32, 16), GOOD, {"layers": {"0": 2}}, r"layers\['0'\]=2: must be a sparsity"),
    "layers' kind": (lambda: mlp(32, 16), GOOD, {"layers": ["0"]}, "must be a dict of name patterns"),
    "damping": (lambda: mlp(32, 16), GOOD, {"damping": -1}, "damping=-1: must be a number of at least 0"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_refused_leaves_the_model_as_it_was(what: str) -> None:
    make, batches, arguments, message = BAD[what]
    model = make()
    if not isinstance(model, nn.Module):
        with pytest.raises(ArgumentError, match=message):
            sparbor.sparsify(model, batches, **arguments)
        return
    model.train()
    before = copy.deepcopy(model.state_dict())
    held = [(name, parameter, parameter.data_ptr()) for name, parameter in model.named_parameters()]
    with pytest.raises(ArgumentError, match=message):
        sparbor.sparsify(model, batches, **arguments)
    assert not layers(model)
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
    assert before.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert value.device.type == "meta" or torch.equal(value.nan_to_num(), before[name].nan_to_num())
    for name, parameter, where in held:
        assert model.get_parameter(name) is parameter
        assert parameter.data_ptr() == where
        assert not parameter._backward_hooks


def test_a_model_that_was_interrupted_is_as_it_was() -> None:
    dense, x = mlp(32, 48, 16), inputs(100, 32)
    model = copy.deepcopy(dense)
    count = iter(range(100))

    class Batches:
        def __iter__(self) -> Iterator[Tensor]:
            if next(count) == 2:  # the first layer is done
                raise KeyboardInterrupt
            yield x

    with pytest.raises(KeyboardInterrupt):
        sparbor.sparsify(model, Batches())
    assert error(model, dense, x) == 0
    assert not layers(model)


def test_a_dendritic_model_is_refused() -> None:
    model = mlp(32, 16)
    sparbor.sparsify(model, GOOD)
    with pytest.raises(ArgumentError, match=r"dendritic layers already .*unwrap"):
        sparbor.sparsify(model, GOOD)
    sparbor.sparsify(sparbor.unwrap(model), GOOD)


def test_parameters_buffers_and_modes_stay() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 32, 3, bias=False), nn.BatchNorm2d(32), nn.Dropout(), nn.Conv2d(32, 16, 1))
    model[3].eval()
    held = {name: (parameter, parameter.data_ptr()) for name, parameter in model.named_parameters()}
    buffers = copy.deepcopy(dict(model[1].named_buffers()))
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # as who only runs a model may have it
    sparbor.sparsify(model, [torch.randn(4, 16, 6, 6)])
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model[1].named_buffers())
    assert [module.training for module in model] == [True, True, True, False]
    now = {name.replace("main_module.", ""): each for name, each in model.named_parameters()}
    assert all(now[name] is parameter and parameter.data_ptr() == where for name, (parameter, where) in held.items())


def test_a_state_dict_of_it_loads_into_its_copy(tmp_path: Any) -> None:
    model, other, x = mlp(32, 48, 16), mlp(32, 48, 16), inputs(50, 32)
    sparbor.sparsify(model, [x])
    sparbor.sparsify(other, [inputs(50, 32, seed=3)], 0.25)
    other.load_state_dict(model.state_dict())
    assert error(other, model, x) == 0
    assert torch.equal(other[0].mask, model[0].mask)


@pytest.mark.parametrize(("pattern", "weights"), [(sparbor.Slots(), "exact"), (sparbor.Quads(), "int8")])
def test_it_deploys_and_answers_as_pytorch_does(pattern: Any, weights: str) -> None:
    model, x = mlp(128, 256, 64).eval(), inputs(200, 128)
    sparbor.sparsify(model, [x], 0.8, pattern=pattern)
    runtime = sparbor.deploy(model, x[:1], weights=weights)
    with torch.no_grad():
        wanted = model(x[:8])
    torch.testing.assert_close(
        runtime(x[:8]), wanted, rtol=1e-4, atol=1e-4 if weights == "exact" else 0.05 * float(wanted.abs().max())
    )


def test_a_line_on_a_terminal_shows_how_far_it_has_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sparbor.sparsify(mlp(32, 48, 16), GOOD)
    assert capsys.readouterr().err == ""  # no terminal
    monkeypatch.setattr("sparbor.progress.PATIENCE", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    sparbor.sparsify(mlp(32, 48, 16), GOOD, progress=False)
    assert capsys.readouterr().err == ""
    report = sparbor.sparsify(mlp(32, 48, 16), GOOD)
    assert isinstance(report, SparsifyReport)
    written = capsys.readouterr().err
    assert "sparsify [##########..........] 1 of 2: 0, error" in written
    assert written.endswith("\r\x1b[K")
