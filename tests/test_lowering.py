import copy
import logging
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sparbor
from sparbor.engine.runtime import kernel_sets
from sparbor.errors import ArgumentError, SparborError
from sparbor.lower.quiet import quiet
from tests.deploying import Function, assert_deploys, relative_error
from tests.layers import random_mask, slot_mask


def perforated(layer: nn.Linear, density: float = 0.1, make_mask=slot_mask) -> sparbor.PAINeuronModule:
    module = sparbor.PAINeuronModule(layer)
    module.set_mask(torch.from_numpy(make_mask(np.random.default_rng(0), *layer.weight.shape, density)))
    return module


def seed_mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(),
        perforated(nn.Linear(784, 256)),
        nn.ReLU(),
        perforated(nn.Linear(256, 256)),
        nn.ReLU(),
        perforated(nn.Linear(256, 10)),
    )


def test_a_perforated_model_deploys_sparse(tmp_path):
    model, x = seed_mlp(), torch.randn(9, 1, 28, 28)
    runtime = assert_deploys(model, x)
    assert [each.kind for each in runtime.describe()] == ["sparse"] * 3
    assert [each.name for each in runtime.describe()] == ["1", "3", "5"]
    for report, layer in zip(runtime.describe(), (model[1], model[3], model[5]), strict=True):
        assert report.active == int(layer.mask.sum())
    assert [each.kind for each in runtime.program.operations] == ["reshape", "linear", "linear", "linear"]
    runtime.save(tmp_path / "model.safetensors")
    loaded = sparbor.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded(x), runtime(x))


def test_sixteen_bit_synapses_stay_within_their_error():
    torch.manual_seed(0)
    for fan_in, outputs in [(784, 256), (2048, 512), (3072, 768)]:
        layer, x = perforated(nn.Linear(fan_in, outputs)), torch.randn(16, fan_in)
        runtime = sparbor.deploy(layer, x)
        assert runtime.describe()[0].weights == "word16"
        assert relative_error(runtime(x), layer(x)) <= 0.008


def test_masks_are_read_and_not_zeros():
    layer = perforated(nn.Linear(64, 32), 0.02, random_mask)
    with torch.no_grad():
        layer.main_module.weight[0] = 0
        layer.main_module.weight[1, ~layer.mask[1]] = 5.0  # outside the mask
    runtime = sparbor.deploy(layer, torch.randn(2, 64), weights="exact")
    assert runtime.describe()[0].active == int(layer.mask.sum())
    x = torch.randn(2, 64)
    masked = F.linear(x, layer.main_module.weight * layer.mask, layer.main_module.bias)
    assert relative_error(runtime(x), masked) < 1e-6


def test_a_model_in_training_keeps_its_masks_and_names():
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparbor.perforate(model, optimizer, sparbor.Recipe(sparsity=0.9), total_steps=1)  # multiplies by no mask
    by_hand = nn.Sequential(perforated(nn.Linear(64, 32), 0.02, random_mask), nn.ReLU())  # multiplies by its mask
    for each in (model, by_hand):
        with torch.no_grad():
            each[0].weight[0] = 0
        report = assert_deploys(each, torch.randn(2, 64)).describe()[0]
        assert (report.name, report.active) == ("0", int(each[0].mask.sum()))


def test_a_plain_layer_is_dense_unless_it_has_many_zeros():
    torch.manual_seed(0)
    layer, x = nn.Linear(128, 64), torch.randn(3, 128)
    assert assert_deploys(layer, x).describe()[0].kind == "dense"
    plain = perforated(nn.Linear(128, 64), 0.02, random_mask).main_module
    report = assert_deploys(plain, x).describe()[0]
    assert (report.kind, report.active) == ("sparse", int((plain.weight != 0).sum()))


def test_the_batch_decides_between_sparse_and_dense(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setenv("SPARBOR_ISA", kernel_sets()[-1])
    x = torch.randn(1, 512)
    for density, batch, way in [(0.05, 1, "sparse"), (0.6, 1, "dense"), (0.6, 16, "sparse")]:
        layer = perforated(nn.Linear(512, 512), density)
        runtime = sparbor.deploy(layer, x)
        report = runtime.describe()[0]
        assert (report.name, report.kind, report.active) == ("layer", "sparse", int(layer.mask.sum()))
        assert runtime.ways_at(batch) == {"layer": way}
        for rows in (x, x.repeat(16, 1), x):  # each size by a plan of its own
            assert relative_error(runtime(rows), layer(rows)) <= 0.008


def test_residuals_batch_norms_and_dropout():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = perforated(nn.Linear(50, 64)), perforated(nn.Linear(64, 64))
            self.last, self.norm, self.alone = nn.Linear(64, 10), nn.BatchNorm1d(64), nn.BatchNorm1d(64)
            self.dropout = nn.Dropout()

        def forward(self, x):
            hidden = torch.relu(self.norm(self.first(x.flatten(1))))
            hidden = hidden + self.dropout(F.gelu(self.second(hidden)))
            return self.last(self.alone(hidden)).softmax(-1)

    torch.manual_seed(0)
    model = Model()
    for norm in (model.norm, model.alone):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    model.train()
    runtime = assert_deploys(model, torch.randn(6, 5, 10))
    kinds = [each.kind for each in runtime.program.operations]
    assert kinds == ["reshape", "linear", "linear", "add", "scale_shift", "linear", "softmax"]
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.ReLU6(),
        nn.Hardtanh(-2, 3),
        nn.LeakyReLU(0.2),
        nn.ELU(0.7),
        nn.SELU(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.Hardswish(),
        nn.Hardsigmoid(),
        nn.Softplus(),
        nn.Softplus(2, 3),
    ],
    ids=str,
)
def test_activations_are_fused(activation):
    torch.manual_seed(0)
    runtime = assert_deploys(nn.Sequential(nn.Linear(40, 33), activation), 3 * torch.randn(7, 40))
    assert len(runtime.program.operations) == 1
    alone = assert_deploys(nn.Sequential(activation, nn.Linear(40, 33)), torch.randn(7, 40))
    assert len(alone.program.operations) == 2


@pytest.mark.parametrize(
    "function",
    [
        lambda x, a, b: b(a(x)) + x,
        lambda x, a, b: torch.relu(a(x)) + a(x),
        lambda x, a, b: F.relu_(a(x)) + b(x),
        lambda x, a, b: F.linear(x, a.weight * 2, a.bias + 1),
        lambda x, a, b: F.linear(x, a.weight),
        lambda x, a, b: a(x).view(x.shape[0], 4, 8).flatten(1),
        lambda x, a, b: a(x).unflatten(1, (4, 8)).softmax(-1).reshape(len(x), -1),
        lambda x, a, b: a(x.unsqueeze(1)).squeeze(1).contiguous(),
        lambda x, a, b: (lambda y: y + y.relu_())(a(x)),
        lambda x, a, b: (lambda y: y.add_(b(x)) + y)(a(x)),
        lambda x, a, b: F.dropout(a(x), 0.5, training=False),
        lambda x, a, b: torch.tanh(torch.sigmoid(x)),
        lambda x, a, b: a(x).view(x.size(0), -1, 4).reshape(-1, 8, 4).flatten(1),
        lambda x, a, b: F.linear(x, a.weight.chunk(2)[0]),
        lambda x, a, b: torch.add(x, a(x), alpha=2) * 0.5 + 1,
        lambda x, a, b: torch.cat([a(x), x, b(x)], 1),
        lambda x, a, b: F.layer_norm(a(x), (32,), a.bias, b.bias) + F.layer_norm(x, (32,)),
        lambda x, a, b: F.layer_norm(a(x).view(-1, 2, 4, 4), (4, 4)).softmax(-1).flatten(1),
    ],
)
def test_functions_of_two_layers(function):
    torch.manual_seed(0)
    assert_deploys(Function(function, nn.Linear(32, 32), perforated(nn.Linear(32, 32))), torch.randn(5, 32))


def overwrite_a_view(x, a, b):
    hidden = a(x)
    hidden.view(-1, 4, 8).relu_()
    return b(hidden)


def overwrite_what_is_viewed(x, a, b):
    hidden = a(x)
    view = hidden.view(-1, 4, 8)
    hidden.relu_()
    return view.flatten(1) + b(hidden)


def overwrite_a_view_of_a_view(x, a, b):
    hidden = a(x)
    hidden.unsqueeze(1).squeeze(1).relu_()
    return b(hidden)


def add_to_a_view(x, a, b):
    hidden = a(x)
    view = hidden.flatten(1)
    view += b(x)
    return hidden


def overwrite_a_clone(x, a, b):
    hidden = a(x)
    return hidden + hidden.clone().relu_()


def overwrite_a_cloned_view(x, a, b):
    return x + x.view(-1, 4, 8).clone().relu_().flatten(1)


def overwrite_behind_a_dropout(x, a, b):
    hidden = a(x)
    F.dropout(hidden, 0.5, training=False).relu_()
    return hidden + b(hidden)


def overwrite_the_input(x, a, b):
    x.view(-1, 4, 8).relu_()
    return a(x) + x


@pytest.mark.parametrize(
    "function",
    [
        overwrite_a_view,
        overwrite_what_is_viewed,
        overwrite_a_view_of_a_view,
        add_to_a_view,
        overwrite_a_clone,
        overwrite_a_cloned_view,
        overwrite_behind_a_dropout,
        overwrite_the_input,
    ],
)
def test_operations_in_place_reach_every_alias_and_no_copy(function):
    torch.manual_seed(0)
    model, x = Function(function, nn.Linear(32, 32), nn.Linear(32, 32)), torch.randn(5, 32)
    before = x.clone()
    runtime = sparbor.deploy(model, x, weights="exact")
    assert torch.equal(x, before)
    with torch.no_grad():
        assert relative_error(runtime(x), model(x.clone())) <= 1e-5


@pytest.mark.parametrize(
    "dropout",
    [nn.Dropout(), nn.Dropout(inplace=True), nn.AlphaDropout(), nn.FeatureAlphaDropout()],
    ids=str,
)
def test_dropouts_are_gone(dropout):
    torch.manual_seed(0)
    runtime = assert_deploys(nn.Sequential(dropout, nn.Linear(32, 32), dropout, nn.ReLU()), torch.randn(5, 32))
    assert [each.kind for each in runtime.program.operations] == ["linear"]


def test_linear_layers_over_more_dimensions():
    torch.manual_seed(0)
    model = nn.Sequential(perforated(nn.Linear(96, 64)), nn.GELU(), nn.Linear(64, 96))
    assert_deploys(model, torch.randn(2, 7, 96))


class SharedWeight(nn.Module):
    """A layer with a mask, and another one on the same weight, with another mask or none."""

    def __init__(self, other_is_masked):
        super().__init__()
        self.masked, self.other = perforated(nn.Linear(64, 64)), nn.Linear(64, 64)
        self.other.weight = self.masked.main_module.weight
        if other_is_masked:
            self.other = perforated(self.other, 0.3, random_mask)
        with torch.no_grad():
            self.masked.weight.normal_()  # dropped ones too: each forward pass multiplies by its mask

    def forward(self, x):
        return self.masked(x) + self.other(x)


@pytest.mark.parametrize("other_is_masked", [False, True])
def test_a_shared_weight_has_the_mask_of_each_layer(other_is_masked):
    torch.manual_seed(0)
    model = SharedWeight(other_is_masked)
    masked, other = assert_deploys(model, torch.randn(4, 64)).describe()
    expected = int(model.other.mask.sum()) if other_is_masked else 64 * 64
    assert (masked.name, masked.active) == ("masked", int(model.masked.mask.sum()))
    assert (other.name, other.active) == ("other", expected)


def test_a_masked_weight_used_without_its_mask():
    torch.manual_seed(0)
    layer = perforated(nn.Linear(32, 32))
    with torch.no_grad():
        layer.weight.normal_()
    report = assert_deploys(Function(lambda x, a: F.linear(x, a.weight), layer), torch.randn(5, 32)).describe()[0]
    assert (report.name, report.active) == ("layers.0", 32 * 32)


def test_weights_that_a_perforator_should_keep_at_zero_and_that_are_not():
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparbor.perforate(model, optimizer, sparbor.Recipe(sparsity=0.9), total_steps=1)
    for stray in (1.0, torch.nan):
        with torch.no_grad():
            model[0].weight.masked_fill_(~model[0].mask, stray)
        with pytest.raises(ArgumentError, match=r"layer '0': \d+ weights that its mask drops are not zero.*apply_mask"):
            sparbor.deploy(model, torch.randn(2, 64))
        model[0].apply_mask()
        sparbor.deploy(model, torch.randn(2, 64))


def test_tied_layers_and_copies():
    torch.manual_seed(0)
    layer = perforated(nn.Linear(48, 48))
    model = nn.Sequential(layer, nn.ReLU(), layer)
    x = torch.randn(4, 48)
    assert [each.kind for each in assert_deploys(model, x).describe()] == ["sparse", "sparse"]
    assert [each.kind for each in assert_deploys(copy.deepcopy(model), x).describe()] == ["sparse", "sparse"]


def test_layers_without_synapses():
    torch.manual_seed(0)
    layer = perforated(nn.Linear(48, 20), 0.0)
    x = torch.randn(3, 48)
    torch.testing.assert_close(sparbor.deploy(layer, x)(x), layer.main_module.bias.detach().expand(3, 20))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Function(lambda x: torch.erfinv(x)), r"erfinv is an operation the engine does not know: erfinv.default. Keep"),
        (
            Function(lambda x, a: torch.erfinv(a(x)) + torch.lgamma(x) + torch.erfinv(x), nn.Linear(8, 8)),
            r"lacks 3 things that the model does: erfinv is .*erfinv.default; lgamma .*; erfinv_1 is .*. Keep",
        ),
        (Function(lambda x: torch.ones(3, 2)), "output does not depend on its input"),
        (Function(lambda x: x if x.sum() > 0 else -x), "could not trace"),
        (nn.BatchNorm1d(8, track_running_stats=False), "without running statistics"),
        (Function(lambda x: F.dropout(x)), r"dropout has train=True.*training=self\.training"),
        (Function(lambda x: F.alpha_dropout(x, training=True)), r"alpha_dropout has train=True"),
        (
            Function(lambda x, n: F.batch_norm(x, n.running_mean, n.running_var, training=True), nn.BatchNorm1d(8)),
            r"batch_norm has training=True.*training=self\.training",
        ),
        (Function(lambda x, a: F.linear(x, a.weight + torch.randn(8, 8)), nn.Linear(8, 8)), "draws random numbers"),
        (Function(lambda x: x.view(2, -1)), "does not fit every batch size"),
        (Function(lambda x: x.reshape(-1, 16)), "could not trace.*batch"),
        (Function(lambda x: x if len(x) > 100 else x.relu()), "treats some differently"),
        (Function(lambda x: x.softmax(-1, dtype=torch.float64)), "computes in torch.float64"),
        (Function(lambda x: {"answer": None}), "returns a dict without a tensor"),
    ],
)
def test_what_the_engine_does_not_know_is_named(model, text):
    with pytest.raises(ArgumentError, match=text):
        sparbor.deploy(model, torch.randn(2, 8))


@pytest.mark.parametrize(
    ("example", "options", "text"),
    [
        (np.zeros((1, 8), np.float32), {}, "example is a ndarray"),
        (torch.zeros(8), {}, "example has shape"),
        (torch.zeros(0, 8), {}, "example has shape"),
        (torch.zeros(1, 8, dtype=torch.float16), {}, r"example is torch.float16: .* pass example\.float\(\)$"),
        (torch.zeros(1, 8, dtype=torch.int16), {}, r"example is torch.int16: .* pass example\.long\(\)$"),
        ((torch.zeros(1, 8), np.zeros(3)), {}, r"example\['input_1'\] is a ndarray"),
        ({}, {}, "example holds no tensor"),
        (
            torch.zeros(1, 8),
            {"dynamic_shapes": {"x": {0: "batch"}}},
            "dynamic_shapes has 'x', which is no input: .*input",
        ),
        (torch.zeros(1, 8), {"dynamic_shapes": {"input": {2: "batch"}}}, r"has 2: 'batch': .* 0 to 1"),
        (torch.zeros(1, 8), {"dynamic_shapes": {"input": {0: "a b"}}}, "a name such as 'sequence'"),
        (torch.zeros(1, 8), {"dynamic_shapes": 3}, "dynamic_shapes is a int"),
        (torch.zeros(1, 8), {"weights": "int4"}, "weights='int4'.*word16, exact"),
        (torch.zeros(1, 8), {"threads": 0}, "threads=0"),
        (torch.zeros(1, 9), {}, "could not trace"),
        (torch.zeros(1, 0), {}, "example has shape"),
        (torch.zeros(1, 8, device="meta"), {}, "example is on meta.*CPU"),
        (torch.zeros(1, 8).to_sparse(), {}, "example is torch.sparse_coo.*to_dense"),
    ],
)
def test_bad_arguments_are_named(example, options, text):
    with pytest.raises(ArgumentError, match=text):
        sparbor.deploy(nn.Linear(8, 8), example, **options)


class OfTokens(nn.Module):
    """An embedding of token ids, and what a perforator makes sparse."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, tokens):
        return self.mlp(self.embedding(tokens))


def test_whole_numbers_are_token_ids_or_pixels_and_each_has_a_way():
    """Token ids go into a model with its embedding; what is said of those given to the part behind it is true."""
    torch.manual_seed(0)
    model, tokens = OfTokens().eval(), torch.randint(50, (3, 8))
    assert relative_error(sparbor.deploy(model, tokens, weights="exact")(tokens), model(tokens)) <= 1e-5
    with torch.no_grad():
        behind = sparbor.deploy(model.mlp, model.embedding(tokens), weights="exact")
        assert relative_error(behind(model.embedding(tokens)), model(tokens)) <= 1e-5
    with pytest.raises(ArgumentError, match=r"x is torch.int64, .*: for token ids deploy the model with its embedding"):
        behind(tokens)
    pixels = sparbor.deploy(model.mlp, torch.randn(1, 8, 16), weights="exact", byte_input=sparbor.ByteInput(0.5, 0.25))
    images = torch.randint(256, (3, 8, 16), dtype=torch.uint8)
    assert relative_error(pixels(images), model.mlp((images / 255 - 0.5) / 0.25)) <= 1e-5


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (None, "model is a NoneType.*torch.nn.Module"),
        (lambda x: x, "model is a function.*torch.nn.Module"),
        (nn.Linear(8, 8).state_dict(), "model is a OrderedDict"),
        (nn.Linear(8, 8).half(), r"model is torch.float16 \('weight'\).*model.float"),
        (nn.Linear(8, 8).double(), "model is torch.float64.*model.float"),
        (nn.Linear(8, 8).bfloat16(), "model is torch.bfloat16.*model.float"),
        (nn.Linear(8, 8, device="meta"), "model has no weights, 'weight' is on meta"),
        (nn.Sequential(nn.LazyLinear(8)), "'0.weight' has no shape"),
        (torch.jit.script(nn.Linear(8, 8)), "it is TorchScript"),
        (nn.Sequential(torch.jit.script(nn.Linear(8, 8))), "its '0' is TorchScript"),
    ],
)
def test_models_that_cannot_be_deployed_as_they_are(model, text):
    with pytest.raises(ArgumentError, match=text):
        sparbor.deploy(model, torch.zeros(1, 8))


DECIDES = """
import logging, sys, threading, warnings
import torch, sparbor
from torch import nn

logging.basicConfig(level=logging.DEBUG)
logging.getLogger("matplotlib").setLevel(logging.ERROR)

class Decides(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            x = -x
        return x.relu()

try:
    sparbor.deploy(Decides(), torch.ones(1, 8))
except sparbor.SparborError as error:
    print(error)
logging.getLogger("torch._guards").warning("heard again")
print("seen again", file=sys.stderr)
"""


def test_a_model_that_decides_by_values_is_refused_in_one_line(tmp_path):
    """Whatever PyTorch logs and prints about it, which goes past Python's own streams, so that a process is needed."""
    file = tmp_path / "decides.py"
    file.write_text(DECIDES)
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=120)
    assert done.stdout == (
        "torch.export could not trace the model for items of shape (8,): what it does depends on the values of a "
        "tensor (line 11 of decides.py, in forward). Its forward must take tensors, the batch first, without "
        "control flow that depends on values\n"
    )
    assert re.fullmatch(r".*heard again\n(.*heard again\n)?seen again\n", done.stderr), done.stderr


def test_other_threads_are_heard_while_a_model_is_traced(capsys, caplog):
    def speak():
        print("printed there", file=sys.stderr)
        logging.getLogger("torch._guards").warning("logged there")

    with quiet():
        stream = sys.stderr
        print("printed here", file=sys.stderr)
        logging.getLogger("torch._guards").warning("logged here")
        logging.getLogger("mine").warning("logged by another here")
        worker = threading.Thread(target=speak)
        worker.start()
        worker.join()
    print("printed later", file=stream)
    assert capsys.readouterr().err.count("printed") == 2
    assert [each for each in ("there", "by another here") if f"logged {each}" in caplog.text] == [
        "there",
        "by another here",
    ]
    assert "logged here" not in caplog.text


def test_a_weight_of_another_shape_than_its_mask_is_named():
    model = nn.Sequential(nn.ReLU(), perforated(nn.Linear(64, 32)))
    model[1].main_module.weight = nn.Parameter(torch.randn(16, 64))
    with pytest.raises(
        ArgumentError, match=r"layer '1': its weight has shape \(16, 64\), and its mask is for \(32, 64\)"
    ):
        sparbor.deploy(model, torch.zeros(1, 64))


def test_a_compiled_model_is_the_model_behind_it():
    model = nn.Sequential(perforated(nn.Linear(64, 32)), nn.ReLU())
    x = torch.randn(3, 64)
    runtime = sparbor.deploy(torch.compile(model), x, weights="exact")
    assert [each.name for each in runtime.describe()] == ["0"]
    assert relative_error(runtime(x), model(x)) <= 1e-5


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x.relu() + self.calls


def test_a_model_with_state_runs_in_a_session():
    session = sparbor.Session(sparbor.deploy(Counter(), torch.zeros(1, 8)))
    for turn in range(1, 4):
        assert torch.equal(session(torch.zeros(2, 8)), torch.full((2, 8), float(turn)))
    counted = Counter()
    counted(torch.zeros(1, 8))
    with pytest.raises(ArgumentError, match="buffer 'calls' as it runs, so that it is a state, and it is not zeros"):
        sparbor.deploy(counted, torch.zeros(1, 8))


def test_weights_that_are_not_finite_are_refused():
    model = nn.Sequential(nn.ReLU(), nn.Linear(8, 8))
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    with pytest.raises(ArgumentError, match=r"layer '1': 1 of its 64 weights are NaN or infinite.*earlier checkpoint"):
        sparbor.deploy(model, torch.zeros(1, 8))


def test_a_training_that_diverged_says_so():
    """One step on a loss that was NaN: what is dropped stays zero, so apply_mask() is not what is advised."""
    model = nn.Sequential(nn.Linear(64, 32))
    optimizer = torch.optim.Adam(model.parameters())
    sparbor.perforate(model, optimizer, sparbor.Recipe(sparsity=0.75), total_steps=1)
    for scale in (1.0, torch.nan):
        (model(torch.randn(2, 64)).sum() * scale).backward()
        optimizer.step()
    with pytest.raises(ArgumentError, match=r"layer '0': 512 of its 2048 weights are NaN or infinite, so training"):
        sparbor.deploy(model, torch.randn(2, 64))


@pytest.mark.parametrize("variance", [0.0, torch.nan])
def test_batch_norms_that_are_not_finite_are_refused(variance):
    model = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(8, eps=0.0))
    model[1].running_var[3] = variance
    with pytest.raises(ArgumentError, match="layer '1' is a batch norm that divides by 0 or holds NaN"):
        sparbor.deploy(model, torch.zeros(1, 8))


def test_layer_norms_that_are_not_finite_are_refused():
    model = nn.Sequential(nn.ReLU(), nn.LayerNorm(8))
    with torch.no_grad():
        model[1].bias[3] = torch.nan
    with pytest.raises(ArgumentError, match=r"layer '1': shift holds NaN or infinity.*look for a loss that was not"):
        sparbor.deploy(model, torch.zeros(1, 8))


class DependsOnMore(nn.Module):
    """Its answer is traced at one moment, and another one at the next."""

    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(8, 8), 1.0

    def forward(self, x):
        self.scale *= 1.001
        return F.linear(x, self.layer.weight * self.scale)


@pytest.mark.parametrize("weights", ["word16", "exact"])
@pytest.mark.parametrize("example", [torch.zeros(1, 8), torch.ones(2, 8), torch.full((2, 8), torch.nan)])
def test_an_engine_that_answers_otherwise_is_not_returned(example, weights):
    with pytest.raises(SparborError, match=r"engine's answer to (the example|random items) differs"):
        sparbor.deploy(DependsOnMore(), example, weights=weights)


def test_a_model_that_treats_a_batch_of_one_differently():
    model = Function(lambda x: x.relu().squeeze())
    with pytest.raises(
        ArgumentError, match=r"output for the example is .*shape \(8,\), .*of shape \(1, 8\): as squeeze"
    ):
        sparbor.deploy(model, torch.randn(1, 8))


def test_answers_that_are_zero_not_finite_or_amplify_rounding_are_no_reason_to_refuse():
    torch.manual_seed(0)
    dead, steep = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Sequential(nn.Linear(64, 10), nn.Softmax(-1))
    with torch.no_grad():
        dead[0].weight.zero_()
        dead[0].bias.fill_(-1)
        steep[0].weight.mul_(1e4)
    for model, example in [
        (dead, torch.randn(2, 8)),
        (dead, torch.zeros(1, 8)),
        (steep, torch.randn(16, 64)),
        (nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), torch.full((2, 8), 1e30)),
    ]:
        for weights in ("word16", "exact"):
            sparbor.deploy(model, example, weights=weights)


def test_settings_of_pytorch_change_nothing_and_are_left_alone():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512)), torch.ones(5, 512)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            random = torch.get_rng_state()
            runtime = sparbor.deploy(model, x, weights="exact")
            assert torch.equal(torch.get_rng_state(), random)
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.backends.mkldnn.enabled
    assert relative_error(runtime(x), model(x)) <= 1e-5
