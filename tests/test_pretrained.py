"""Models saved in Hugging Face's layout compute the same when they are read by it, and are the same when loaded."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as to_safetensors
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from transformers import AutoModel, BertModel

import sparbor
from sparbor import NM, PAINeuronModule, Slots, Unstructured
from sparbor.errors import ArgumentError, OutputError, StateError
from sparbor.pretrained import masks_file, saving
from sparbor.pretrained.masks import masks_of
from sparbor.program.model_file import checksummed
from tests.texts import encoder, made_sparse, tokenizer

IDS = torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(0))


def answer(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(IDS).last_hidden_state


def masks_and_orders(model: nn.Module) -> list[Any]:
    return [
        (mask.name, mask.mode, mask.sparsity, mask.pattern, mask.mask.tolist(), mask.neurons, mask.inputs)
        for mask in masks_of(model)
    ]


def plain() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(4, 16, 3), nn.Flatten(), nn.Linear(16, 16), nn.LSTM(16, 8), nn.Linear(16, 4))


def dendritic() -> nn.Sequential:
    """Layers of several patterns, modes and orders, and one of two masked weights."""
    model = plain()
    first = PAINeuronModule(model[0], "first", sparsity=0.5, pattern=NM(1, 2))
    first.set_mode("d")
    second = PAINeuronModule(model[2], "second", sparsity=0.5, pattern=Slots(branch=8))
    second.permute_neurons(torch.arange(16).flip(0), torch.arange(16).roll(3))
    second.set_mode("d")
    inner = PAINeuronModule(model[3], "inner", sparsity=0.75, pattern=Unstructured())
    outer = PAINeuronModule(inner, "outer", sparsity=0.25, pattern=Unstructured(), weight_name="weight_hh_l0")
    inner.set_mode("d")
    outer.set_mode("d")
    model[0], model[2], model[3], model[4] = first, second, outer, PAINeuronModule(model[4], "dense yet")
    return model


def test_a_hugging_face_model_is_read_by_hugging_face_and_is_the_same_when_loaded(tmp_path: Path) -> None:
    model = made_sparse(encoder())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sparbor.save_pretrained(model, tmp_path / "saved")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    dense = AutoModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(answer(dense), answer(model))
    zeros = dense.encoder.layer[0].intermediate.dense.weight == 0
    assert zeros.float().mean() == 0.5
    again = sparbor.load_pretrained(tmp_path / "saved")
    assert isinstance(again, BertModel)
    assert torch.equal(answer(again), answer(model))
    assert list(again.state_dict()) == list(model.state_dict())
    assert masks_and_orders(again) == masks_and_orders(model)


def test_a_perforated_model_is_saved_as_it_is_and_trains_on_under_its_masks(tmp_path: Path) -> None:
    model = encoder()
    optimizer = torch.optim.Adam(model.parameters())
    sparbor.perforate(model, optimizer, sparbor.Recipe(sparsity=0.75), total_steps=20)
    for _ in range(20):
        model(IDS).last_hidden_state.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    sparbor.save_pretrained(model, tmp_path)
    again = sparbor.load_pretrained(tmp_path)
    assert torch.equal(answer(again), answer(model))
    optimizer = torch.optim.Adam(again.parameters())
    again(IDS).last_hidden_state.square().mean().backward()
    optimizer.step()
    for mask in masks_of(again):
        assert not again.get_submodule(mask.layer).weight[~mask.mask].any()


def test_any_other_model_is_loaded_into_the_one_given(tmp_path: Path) -> None:
    model = dendritic()
    sparbor.save_pretrained(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "model.safetensors", "sparbor.safetensors"]
    given = plain()
    again = sparbor.load_pretrained(tmp_path, model=given)
    assert again is given
    assert list(again.state_dict()) == list(model.state_dict())
    for (name, mine), theirs in zip(again.state_dict().items(), model.state_dict().values(), strict=True):
        masked = name.endswith(("weight", "weight_hh_l0", "weight_ih_l0"))
        assert masked or torch.equal(mine, theirs), name
    for mine, theirs in zip(masks_of(again), masks_of(model), strict=True):
        assert torch.equal(mine.mask, theirs.mask)
        assert (mine.mode, mine.sparsity, mine.pattern) == (theirs.mode, theirs.sparsity, theirs.pattern)
        for one, other in ((mine.neurons, theirs.neurons), (mine.inputs, theirs.inputs)):
            assert one is other is None or torch.equal(one, other)
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(again[:4](x)[0], model[:4](x)[0])


def test_layers_in_two_places_and_a_layer_alone(tmp_path: Path) -> None:
    shared = nn.Linear(16, 16)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    masked = PAINeuronModule(shared, "shared", sparsity=0.5)
    masked.set_mode("d")
    model[0] = model[2] = masked
    sparbor.save_pretrained(model, tmp_path / "two")
    other = nn.Linear(16, 16)
    again = sparbor.load_pretrained(tmp_path / "two", model=nn.Sequential(other, nn.ReLU(), other))
    assert again[0] is again[2]
    x = torch.randn(3, 16)
    assert torch.equal(again(x), model(x))
    sparbor.save_pretrained(masked, tmp_path / "one")
    alone = sparbor.load_pretrained(tmp_path / "one", model=nn.Linear(16, 16))
    assert isinstance(alone, PAINeuronModule)
    assert torch.equal(alone(x), masked(x))


def test_a_neuron_that_lost_all_its_weights_under_weight_norm(tmp_path: Path) -> None:
    model = nn.Sequential(PAINeuronModule(weight_norm(nn.Linear(8, 4)), "normed"))
    model[0].set_mask(torch.arange(4)[:, None] > torch.zeros(8))
    sparbor.save_pretrained(model, tmp_path)
    again = sparbor.load_pretrained(tmp_path, model=nn.Sequential(weight_norm(nn.Linear(8, 4))))
    x = torch.randn(3, 8)
    torch.testing.assert_close(again(x), model(x))
    assert again(x)[:, 0].eq(model[0].bias[0]).all()


def test_the_model_card_has_what_was_measured_and_nothing_else(tmp_path: Path) -> None:
    model = made_sparse(encoder())
    sparbor.save_pretrained(model, tmp_path, tokenizer=tokenizer(tmp_path))
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\ntags:\n- sparbor\n- sparse\n---\n")
    assert "50.0% of the weights of 12 layers are zero" in card
    assert "| `encoder.layer.1.output.dense` | 2048 | 1024 | 50.0% | `Quads(neuron_block=16, branch=64)` |" in card
    assert "measured" not in card
    assert (tmp_path / "tokenizer.json").exists()
    sparbor.save_pretrained(model, tmp_path, metrics={"accuracy | test": 0.803, "latency": "3 ms\nat 16 tokens"})
    card = (tmp_path / "README.md").read_text()
    assert "| accuracy \\| test | 0.803 |\n| latency | 3 ms at 16 tokens |" in card
    own = card.replace(saving.WRITTEN, "Mine.")
    (tmp_path / "README.md").write_text(own)
    sparbor.save_pretrained(model, tmp_path)
    assert (tmp_path / "README.md").read_text() == own


def test_a_failing_write_leaves_what_was_there(tmp_path: Path) -> None:
    model = made_sparse(encoder())
    sparbor.save_pretrained(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    class Broken:
        def save_pretrained(self, folder: Path) -> None:
            (folder / "tokenizer.json").write_text("{}")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        sparbor.save_pretrained(made_sparse(encoder(), 0.75), tmp_path, tokenizer=Broken())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(OutputError, match="No space left"):
        sparbor.save_pretrained(model, tmp_path / "new" / "er", tokenizer=Broken())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        sparbor.save_pretrained(model, tmp_path / "file")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "net"}, "model is a str: pass a torch.nn.Module"),
        ({"model": nn.Linear(4, 4)}, "model has no masks: save one that sparbor.perforate has made dendritic"),
        ({"tokenizer": 3}, "tokenizer is a int, which has no save_pretrained"),
        ({"metrics": [1]}, "metrics is a list: pass a dictionary"),
        (
            {"metrics": {"accuracy": float("nan")}},
            r"metrics\['accuracy'\] is nan: it must be a text or a finite number",
        ),
    ],
)
def test_what_cannot_be_saved(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=message):
        sparbor.save_pretrained(**{"model": dendritic(), "directory": tmp_path / "saved", **arguments})
    assert not (tmp_path / "saved").exists()


def test_grown_dendrites_are_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.SGD(model.parameters())
    sparbor.perforate(model, optimizer, sparbor.Recipe(sparsity=0.5, growth=sparbor.Growth()), total_steps=200)
    sparbor.save_pretrained(model, tmp_path / "not grown")
    layer = next(each for each in model.modules() if getattr(each, "dendrites", None) is not None)
    layer.dendrites.grow_to(1)
    with pytest.raises(
        ArgumentError, match=r"layer '\d' has grown dendrites, .* save model.state_dict\(\) by torch.save"
    ):
        sparbor.save_pretrained(model, tmp_path / "grown")


def rewritten(content: bytes, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    """The masks' file with another text and other arrays, whose checksums hold."""
    arrays = arrays_of(content)
    length = int.from_bytes(content[:8], "little")
    text = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["sparbor_masks"][8:])
    change(text, arrays)
    return to_safetensors(arrays, {"sparbor_masks": checksummed(json.dumps(text))})


def summed(text: dict[str, Any], arrays: dict[str, Any]) -> None:
    text["crc32"] = {name: masks_file.zlib.crc32(array.data) for name, array in arrays.items()}


def first(**fields: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda text, arrays: text["layers"][0].update(fields)


def array(name: str, made: Callable[[Any], Any]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(text: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays[name] = made(arrays.get(name))
        summed(text, arrays)

    return change


HOSTILE = {
    "a later version": (
        lambda text, arrays: text.update(version=2),
        "it has version 2, and this release .* reads version 1",
    ),
    "no layers": (lambda text, arrays: text.pop("layers"), "malformed"),
    "layers that are none": (lambda text, arrays: text.update(layers=[3]), "malformed"),
    "fields missing": (lambda text, arrays: text["layers"][0].pop("mode"), "layer 0 has not the fields of a mask"),
    "another layer": (first(layer="7"), "there is a mask for '7', and the model has no such layer"),
    "another weight": (first(weight="bias"), "there is a mask for '0.bias', which is no weight of a Conv2d layer"),
    "a layer without weights": (first(layer="1"), "there is a mask for '1', which is no weight of a Flatten layer"),
    "another shape": (first(shape=[4, 16, 3, 3]), r"the mask of '0' has shape \(4, 16, 3, 3\), and the weight"),
    "a size below none": (first(shape=[-16, -4, 3, 3]), "has the shape"),
    "a truth for a size": (first(shape=[True, 64, 3, 3]), "has the shape"),
    "more bits": (first(shape=[16, 4, 3, 2]), "has 72 bytes for a mask of 384 weights"),
    "endless sizes": (first(shape=[2**40, 2**40]), "has 72 bytes for a mask"),
    "an unknown mode": (first(mode="x"), "has the mode 'x'"),
    "dense with a mask": (first(mode="n"), "is dense, and its mask drops weights"),
    "a sparsity of 2": (first(sparsity=2), "must be at least 0 and below 1"),
    "an unknown pattern": (first(pattern={"kind": "os"}), "malformed"),
    "a pattern of nothing": (first(pattern={"kind": "nm", "n": 0, "m": 4}), "must be a whole number of at least 1"),
    "a pattern that cannot be": (first(pattern={"kind": "slots", "neuron_block": 16, "branch": "x"}), "whole number"),
    "twice": (lambda text, arrays: text["layers"].append(text["layers"][0]), "malformed"),
    "a mask of floats": (array("0/mask", lambda mask: mask.astype(np.float32)), "bytes for a mask"),
    "an order of other numbers": (array("1/neurons", lambda order: order * 2), "1/neurons is no order"),
    "an order of another layer": (
        array("0/inputs", lambda _: np.arange(3, dtype=np.int32)),
        "an order of 3, and the layer 36",
    ),
    "an array of nobody": (array("9/mask", lambda _: np.zeros(1, np.uint8)), "9/mask belongs to no layer"),
    "a mask that is none of the weights'": (array("0/mask", lambda mask: ~mask), "weights of '0' are not zero where"),
    "a checksum": (lambda text, arrays: text["crc32"].update({"0/mask": 1}), "0/mask does not match its checksum"),
}


@pytest.mark.parametrize("which", HOSTILE)
def test_a_file_that_lies_is_refused_and_the_model_is_as_before(which: str, tmp_path: Path) -> None:
    sparbor.save_pretrained(dendritic(), tmp_path)
    change, message = HOSTILE[which]
    path = tmp_path / "sparbor.safetensors"
    path.write_bytes(rewritten(path.read_bytes(), change))
    given = plain()
    with torch.no_grad():
        given[2].weight.fill_(3)
    with pytest.raises(StateError, match=message):
        sparbor.load_pretrained(tmp_path, model=given)
    assert type(given[0]) is nn.Conv2d
    assert given[2].weight.eq(3).all()


@pytest.mark.parametrize("name", ["sparbor.safetensors", "model.safetensors"])
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    sparbor.save_pretrained(dendritic(), tmp_path)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", whole[:100], whole[:-1], b"\xff" * 64):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StateError, match=re.escape(name)):
            sparbor.load_pretrained(tmp_path, model=plain())
    if name == "sparbor.safetensors":
        (tmp_path / name).write_bytes(whole.replace(b"layers", b"lawyer", 1))
        with pytest.raises(StateError, match="does not match the checksum"):
            sparbor.load_pretrained(tmp_path, model=plain())


def test_directories_and_models_that_do_not_fit(tmp_path: Path) -> None:
    sparbor.save_pretrained(dendritic(), tmp_path / "plain")
    sparbor.save_pretrained(made_sparse(encoder()), tmp_path / "bert")
    with pytest.raises(StateError, match="is no directory"):
        sparbor.load_pretrained(tmp_path / "nowhere")
    with pytest.raises(StateError, match=r"sparbor.safetensors' cannot be read .*: pass a directory that"):
        sparbor.load_pretrained(tmp_path)
    with pytest.raises(StateError, match=r"no config.json, .*: pass the plain model as model="):
        sparbor.load_pretrained(tmp_path / "plain")
    with pytest.raises(ArgumentError, match="model is a str"):
        sparbor.load_pretrained(tmp_path / "plain", model="net")  # type: ignore[arg-type]
    with pytest.raises(StateError, match=r"weights are missing \(0.weight, .*directory is that of another model"):
        sparbor.load_pretrained(tmp_path / "bert", model=plain())
    with pytest.raises(ArgumentError, match="model has masks already: pass the plain model"):
        sparbor.load_pretrained(tmp_path / "plain", model=dendritic())
    other = plain()
    other[2] = nn.Linear(16, 16, bias=False)
    with pytest.raises(StateError, match=r"weights are not the model's \(2.bias\)"):
        sparbor.load_pretrained(tmp_path / "plain", model=other)
    other[2] = nn.Linear(16, 8)
    with pytest.raises(StateError, match=r"'2.bias' has shape \(16,\), and in the model \(8,\)"):
        sparbor.load_pretrained(tmp_path / "plain", model=other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["NoSuchModel"]}, "its class, .*, is none of transformers"),
        ({"architectures": ["pipeline"]}, "is none of transformers"),
        ({"architectures": None}, "is none of transformers"),
        ({"num_hidden_layers": 3}, "weights are missing"),
        ({"num_hidden_layers": 1}, "weights are not the model's"),
        ({"hidden_size": 64}, "transformers cannot load it"),
        ({"model_type": "nonsense"}, "transformers cannot load it"),
    ],
)
def test_a_config_of_another_model(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    sparbor.save_pretrained(made_sparse(encoder()), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StateError, match=message):
        sparbor.load_pretrained(tmp_path)
