"""Which layers are taken, which are not, and why: nothing is skipped silently."""

import pytest
import torch
from torch import nn

import sparbor
from sparbor.allocation.survey import LayerEligibility, survey
from sparbor.errors import ArgumentError
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.recipe import Recipe

torch.set_num_threads(1)


def look(
    model: nn.Module, recipe: Recipe | None = None, held: list[nn.Parameter] | None = None
) -> dict[str, LayerEligibility]:
    optimizer = torch.optim.SGD(model.parameters() if held is None else held, 0.1)
    return {finding.name: finding for finding in survey(model, optimizer, recipe or Recipe())}


def reasons(
    model: nn.Module, recipe: Recipe | None = None, held: list[nn.Parameter] | None = None
) -> dict[str, object]:
    return {name: finding.reason for name, finding in look(model, recipe, held).items()}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_taken_and_not_taken() -> None:
    model = nn.Sequential(
        nn.Conv1d(1, 16, 3),
        nn.Conv2d(1, 16, 3),
        nn.Conv3d(1, 16, 3),
        nn.Linear(4, 4),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.ConvTranspose1d(4, 4, 3),
        nn.ConvTranspose2d(4, 4, 3),
        nn.ConvTranspose3d(4, 16, 3),
        nn.ConvTranspose2d(32, 16, 3, groups=2),
        nn.Conv2d(32, 32, 3, groups=4),
        nn.Embedding(5, 4),
        nn.LSTM(4, 4),
        nn.Linear(0, 4),
    )
    assert reasons(model) == {
        "0": None,
        "1": None,
        "2": None,
        "3": None,
        "4": "it has no matrix of weights",
        "6": "only 4 outputs, a slot needs 16",
        "7": "only 4 outputs, a slot needs 16",
        "8": None,
        "9": "8 outputs in each convolution group, a slot needs 16",
        "10": "8 outputs in each convolution group, a slot needs 16",
        "11": "an embedding: its rows are looked up, not multiplied",
        "12.weight_ih_l0": None,
        "12.weight_hh_l0": None,
        "13": "it has no weights",
    }
    found = look(model)
    assert found["3"] == LayerEligibility("3", "Linear", 20)
    assert found["3"].taken
    assert not found["4"].taken


class Rooted(nn.Module):
    """A model with a parameter of its own, as vision transformers have."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 4))
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + self.position)  # type: ignore[no-any-return]


def test_a_model_with_parameters_of_its_own() -> None:
    model = Rooted()
    assert reasons(model) == {
        "": "not a linear, convolutional, recurrent or attention layer",
        "head": None,
    }
    sparbor.perforate(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=1)
    assert isinstance(model.head, PAINeuronModule)
    model(torch.randn(2, 4)).sum().backward()


def test_a_weight_that_an_embedding_has_too_stays_dense() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10), nn.Linear(4, 4))
    model[1].weight = model[0].weight  # type: ignore[assignment]
    assert reasons(model)["1"] == "its weight is tied: '0' (Embedding) uses it too"
    assert reasons(model)["2"] is None
    assert [finding.weights for finding in look(model).values()] == [40, 10, 20], "the embedding counts once"


def test_an_embedding_that_three_modules_share_is_counted_once() -> None:
    shared = nn.Embedding(10, 4)
    model = nn.ModuleDict({name: nn.Embedding(10, 4) for name in ("encoder", "decoder")} | {"head": nn.Linear(4, 4)})
    for name in ("encoder", "decoder"):
        model[name].weight = shared.weight
    found = look(nn.ModuleList([shared, model]))  # type: ignore[arg-type]
    assert [finding.weights for finding in found.values()] == [40, 0, 0, 20]
    assert found["1.encoder"].reason == "its weight is tied: '0' (Embedding) and '1.decoder' (Embedding) use it too"
    assert found["1.head"].taken


def test_a_layer_that_stands_in_two_places() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 4))
    assert reasons(model) == {"0": None, "3": None}
    sparbor.perforate(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=1)
    assert model[0] is model[2]
    assert isinstance(model[0], PAINeuronModule)
    assert model[0].main_module is shared
    assert sparbor.unwrap(model)[0] is model[2] is shared  # type: ignore[index]


def test_linear_layers_with_one_weight_have_one_mask() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    found = look(model)
    assert [name for name, finding in found.items() if finding.taken] == ["0", "1", "3"]
    assert found["2"] == LayerEligibility("2", "Linear", 4, shares="0"), "of its own it has a bias alone"
    said = reasons(model, Recipe(exclude=("2",)))
    assert said["0"] == "its weight is tied: '2' (Linear) uses it too, and the recipe excludes that"
    assert said["2"] == "excluded by the recipe"
    model[1] = nn.ConvTranspose1d(4, 4, 1)
    model[3].weight = model[1].weight
    assert reasons(model)["3"] == "its weight is tied: '1' (ConvTranspose1d) uses it too"


def test_a_layer_wrapped_twice_by_hand() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(PAINeuronModule(shared, "a"), PAINeuronModule(shared, "b"), nn.Linear(4, 4))
    assert reasons(model) == {
        "0": "its weight is tied: '1' (Linear) uses it too",
        "1": "its weight is tied: '0' (Linear) uses it too",
        "2": None,
    }


def test_frozen_unheld_and_excluded() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].weight.requires_grad_(False)
    held = [*model[0].parameters(), model[1].bias, *model[2].parameters(), *model[3].parameters()]
    assert reasons(model, Recipe(exclude=("3",)), held) == {  # type: ignore[arg-type]
        "0": "frozen: its weight needs no gradient",
        "1": "the optimizer does not hold its weight",
        "2": None,
        "3": "excluded by the recipe",
    }


def test_exclude_patterns() -> None:
    model = nn.Sequential()
    for name in ("encoder", "decoder"):
        model.add_module(name, nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    taken = {name for name, reason in reasons(model, Recipe(exclude=("enc*", "decoder.[1]"))).items() if not reason}
    assert taken == {"decoder.0"}
    with pytest.raises(ArgumentError, match=r"exclude='head': matches no layer; the model has encoder\.0, encoder\.1,"):
        look(model, Recipe(exclude=("head",)))


def test_exclude_does_not_mind_torch_compile() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    compiled = torch.compile(model, backend="eager")
    assert reasons(compiled, Recipe(exclude=("1",))) == {  # type: ignore[arg-type]
        "_orig_mod.0": None,
        "_orig_mod.1": "excluded by the recipe",
    }


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "norm",
    [nn.utils.parametrizations.spectral_norm, nn.utils.parametrizations.orthogonal, nn.utils.spectral_norm],
)
def test_parametrized_weights(norm: object, bias: bool) -> None:
    model = nn.Sequential(norm(nn.Linear(4, 4, bias=bias)), nn.Linear(4, 4))  # type: ignore[operator]
    found = reasons(model)
    assert found["0"] == "its weight is computed from other parameters (a parametrization)"
    assert found["1"] is None
    assert reasons(model, Recipe(exclude=("0",)))["0"] == "excluded by the recipe"


def test_lazy_layers() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyConv2d(16, 3), nn.Linear(4, 4))
    found = look(model)
    assert found["0"].reason == found["1"].reason == "its shape is not known yet; run one batch through the model first"
    assert found["0"].weights == 0
    model = nn.Sequential(nn.LazyLinear(4))
    model(torch.randn(1, 3))
    assert reasons(model) == {"0": None}


def test_attention_is_listed_by_its_projections() -> None:
    found = look(nn.TransformerEncoderLayer(16, 2, 32))
    assert found["self_attn.in_proj_weight"] == LayerEligibility(
        "self_attn.in_proj_weight", "MultiheadAttention", 3 * 16 * 17, weight_name="in_proj_weight"
    )
    assert found["self_attn.out_proj"].weights == 16 * 17
    taken = ["self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2"]
    assert [name for name, finding in found.items() if finding.taken] == taken
    found = look(nn.ModuleDict({"attn": nn.MultiheadAttention(16, 2, kdim=24, vdim=40)}))
    assert {name: finding.weights for name, finding in found.items()} == {
        "attn.q_proj_weight": 16 * 16 + 3 * 16,
        "attn.k_proj_weight": 16 * 24,
        "attn.v_proj_weight": 16 * 40,
        "attn.out_proj": 16 * 17,
    }
    assert all(finding.taken and finding.path in ("attn", "attn.out_proj") for finding in found.values())


def test_models_that_cannot_be_perforated() -> None:
    with pytest.raises(
        ArgumentError, match=r"Sequential has no layer that can become dendritic: 0 \(BatchNorm1d\): it has no matrix"
    ):
        look(nn.Sequential(nn.BatchNorm1d(4)))
    with pytest.raises(ArgumentError, match=r"can become dendritic: each of 9 layers: it has no matrix of weights$"):
        look(nn.Sequential(*[nn.BatchNorm1d(4) for _ in range(9)]))
    with pytest.raises(ArgumentError, match=r"ReLU has no layer that can become dendritic: it has no parameters"):
        survey(nn.ReLU(), torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1), Recipe())
    with pytest.raises(ArgumentError, match=r"the model is itself a Linear layer.*pass torch\.nn\.Sequential\(layer\)"):
        look(nn.Linear(4, 4))
    with pytest.raises(ArgumentError, match=r"the model is itself a Linear layer"):
        look(PAINeuronModule(nn.Linear(4, 4), "x"))
    model, other = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(
        ArgumentError, match=r"the optimizer holds none of the weights.*make it with torch\.optim\.<Opt"
    ):
        look(model, held=list(other.parameters()))


def test_refusal_leaves_the_model_alone() -> None:
    model, other = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4))
    optimizer = torch.optim.SGD(other.parameters(), 0.1)
    layer = model[0]
    with pytest.raises(ArgumentError):
        sparbor.perforate(model, optimizer, total_steps=10)
    with pytest.raises(ArgumentError, match="total_steps=0"):
        sparbor.perforate(other, optimizer, total_steps=0)
    assert model[0] is layer
    assert not optimizer._optimizer_step_post_hooks
    assert isinstance(other[0], nn.Linear)
