"""Which layers can become dendritic, and what counts with each of their weights."""

import pytest
import torch
from torch import nn

from sparbor.nn.layers import name_of_weight, parameters_with, row_groups, weight_names, why_not_wrappable
from sparbor.recipe.pattern import Slots, Unstructured


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (nn.Linear(4, 4), ("weight",)),
        (nn.ConvTranspose2d(4, 4, 3), ("weight",)),
        (nn.MultiheadAttention(8, 2), ("in_proj_weight",)),
        (nn.MultiheadAttention(8, 2, kdim=8, vdim=8), ("in_proj_weight",)),
        (nn.MultiheadAttention(8, 2, vdim=4), ("q_proj_weight", "k_proj_weight", "v_proj_weight")),
        (nn.GRUCell(4, 4), ("weight_ih", "weight_hh")),
        (
            nn.LSTM(4, 4, bidirectional=True, proj_size=2),
            tuple(f"weight_{part}_l0{way}" for way in ("", "_reverse") for part in ("ih", "hh", "hr")),
        ),
        (nn.Embedding(4, 4), ()),
        (nn.LayerNorm(4), ()),
    ],
)
def test_weights_and_what_counts_with_them(layer: nn.Module, names: tuple[str, ...]) -> None:
    assert weight_names(layer) == names
    counted = [parameter for name in names or [None] for parameter in parameters_with(layer, name)]
    output = set(layer.out_proj.parameters()) if isinstance(layer, nn.MultiheadAttention) else set()
    assert len(set(counted)) == len(counted)
    assert set(counted) == set(layer.parameters()) - output, "every parameter counts once"
    for name in names:
        assert layer.get_parameter(name) in set(parameters_with(layer, name))
        assert why_not_wrappable(layer, Unstructured(), name) is None


def test_names_in_reports() -> None:
    assert name_of_weight("encoder.fc", "weight") == "encoder.fc"
    assert name_of_weight("encoder.attn", "in_proj_weight") == "encoder.attn.in_proj_weight"
    assert name_of_weight("", "in_proj_weight") == "in_proj_weight"


def test_row_blocks() -> None:
    assert row_groups(nn.Linear(4, 4), "weight") == 1
    assert row_groups(nn.Conv2d(8, 8, 3, groups=4), "weight") == 4
    assert row_groups(nn.MultiheadAttention(8, 2), "in_proj_weight") == 3
    assert row_groups(nn.MultiheadAttention(8, 2, kdim=4), "q_proj_weight") == 1


@pytest.mark.parametrize(
    ("layer", "weight", "reason"),
    [
        (nn.Bilinear(4, 4, 4), None, "not a linear, convolutional, recurrent or attention layer"),
        (nn.Embedding(4, 4), None, "an embedding: its rows are looked up, not multiplied"),
        (nn.GRU(4, 4), "weight", "it has no weight 'weight', only 'weight_ih_l0', 'weight_hh_l0'"),
        (nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 16, 3)), None, None),
        (nn.MultiheadAttention(8, 2), "q_proj_weight", "it has no weight 'q_proj_weight', only 'in_proj_weight'"),
        (
            nn.utils.parametrizations.weight_norm(nn.MultiheadAttention(8, 2), "in_proj_weight"),
            None,
            "its weight is computed from other parameters (a parametrization)",
        ),
        (nn.Conv2d(32, 32, 3, groups=4), None, "8 outputs in each convolution group, a slot needs 16"),
        (nn.MultiheadAttention(8, 2), None, None),
    ],
)
def test_reasons(layer: nn.Module, weight: str | None, reason: str | None) -> None:
    assert why_not_wrappable(layer, Slots(), weight) == reason


def test_lazy_layers_have_no_weights_yet() -> None:
    layer = nn.LazyLinear(4)
    assert why_not_wrappable(layer, Slots()) == "its shape is not known yet; run one batch through the model first"
    layer(torch.zeros(1, 3))
    assert why_not_wrappable(layer, Slots()) is None
