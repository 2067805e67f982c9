"""Wrappers: attributes handed on, and the paths of a model's parts with and without what is wrapped around them."""

import pytest
from torch import nn

from sparbor.nn.named_layers import named_layers
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer, wrappers


def wrapped_attention() -> tuple[nn.MultiheadAttention, PAINeuronModule]:
    attention = nn.MultiheadAttention(8, 2, kdim=4)
    attention.out_proj = PAINeuronModule(attention.out_proj)  # type: ignore[assignment]
    inner = PAINeuronModule(attention, weight_name="q_proj_weight")
    return attention, PAINeuronModule(inner, weight_name="k_proj_weight")


def test_a_layer_within_its_wrappers() -> None:
    attention, outer = wrapped_attention()
    assert [wrapper.weight_name for wrapper in wrappers(outer)] == ["k_proj_weight", "q_proj_weight"]
    assert plain_layer(outer) is plain_layer(attention) is attention
    assert list(wrappers(attention)) == []
    assert outer.embed_dim == 8
    assert outer.weight is attention.k_proj_weight
    for wrapper in wrappers(outer):
        assert wrapper.get_parameter(wrapper.weight_path) is wrapper.weight
    with pytest.raises(AttributeError, match="in_features"):
        _ = outer.in_features


def test_plain_paths_are_those_of_the_plain_model() -> None:
    _, outer = wrapped_attention()
    own = nn.Module()
    own.main_module = nn.Linear(4, 4)  # a model may use the name itself
    model = nn.ModuleDict({"a": outer, "b": own})
    found = [(path, plain) for path, plain, _ in named_layers(model)]
    assert found == [
        ("", ""),
        ("a", "a"),
        ("a.main_module", "a"),
        ("a.main_module.main_module", "a"),
        ("a.main_module.main_module.out_proj", "a.out_proj"),
        ("a.main_module.main_module.out_proj.main_module", "a.out_proj"),
        ("b", "b"),
        ("b.main_module", "b.main_module"),
    ]
    assert all(model.get_submodule(path) is module for path, _, module in named_layers(model))
    assert [plain for _, plain, _ in named_layers(outer)] == ["", "", "", "out_proj", "out_proj"]
