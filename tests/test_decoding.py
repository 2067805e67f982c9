"""Causal language models write text through a session: the same tokens as Hugging Face's `generate`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

import sparbor
from sparbor import Runtime, Session
from sparbor.errors import ArgumentError

WORDS, ROOM = 50, 32
SMALL = {"vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


def model(kind: str) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module
    if kind == "gpt2":
        ends = {"bos_token_id": 0, "eos_token_id": 0}
        made = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_positions=64, n_embd=32, n_layer=2, n_head=4, **ends))
    elif kind == "llama":
        made = LlamaForCausalLM(LlamaConfig(**SMALL, **HEADS))
    else:  # which looks back six tokens at most
        made = MistralForCausalLM(MistralConfig(**SMALL, **HEADS, sliding_window=6))
    for each in made.parameters():
        if each.dim() > 1:
            nn.init.normal_(each, std=0.3)  # or it would write the same word again and again
    return made.eval()


@cache
def deployed(kind: str, **options: Any) -> tuple[nn.Module, Runtime]:
    wanted = model(kind)
    return wanted, sparbor.deploy(**sparbor.decoder(wanted, ROOM, **options), weights="exact")


def prompt(batch: int, length: int = 5) -> Tensor:
    return torch.randint(0, WORDS, (batch, length), generator=torch.Generator().manual_seed(batch))


def written(session: Session, tokens: Tensor, count: int) -> Tensor:
    new = tokens
    for _ in range(count):
        new = session(new)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, new], 1)
    return tokens


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral"])
def test_the_same_tokens_as_generate(kind: str, tmp_path: Path) -> None:
    """One sequence, and two at once; of a runtime, and of its file."""
    wanted, runtime = deployed(kind)
    runtime.save(tmp_path / "decoder")
    for each in (runtime, sparbor.load(tmp_path / "decoder")):
        session = Session(each)
        for batch in (1, 2):
            tokens = prompt(batch)
            same = wanted.generate(tokens, max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)
            assert len(same.unique()) > 8
            assert torch.equal(written(session, tokens, 20), same)
            session.reset()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_token_by_token_in_pieces_and_at_once(kind: str) -> None:
    wanted, runtime = deployed(kind, logits_to_keep=0)
    tokens = prompt(2, 24)
    with torch.no_grad():
        logits = wanted(tokens).logits
    for sizes in ([24], [1] * 24, [7, 1, 3, 13], [1, 23]):
        session = Session(runtime)
        found = torch.cat([session(each.contiguous()) for each in tokens.split(sizes, 1)], 1)
        torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)


def test_two_sessions_at_once_and_states_given_explicitly() -> None:
    _, runtime = deployed("llama")
    tokens = [prompt(1), prompt(3)]
    alone = [written(Session(runtime), each, 6) for each in tokens]
    sessions = [Session(runtime) for _ in tokens]
    together, new = list(tokens), list(tokens)
    states = {
        port.name: torch.zeros([3 if size == "batch" else size for size in port.shape]) for port in runtime.inputs[1:]
    }
    states["position"] = states["position"].long()
    for _ in range(6):
        for which, session in enumerate(sessions):
            answer = session(new[which])
            if which == 1:
                explicit = runtime(input_ids=new[which], **states)
                assert torch.equal(explicit.pop("logits"), answer)
                states = {name.removeprefix("next_"): state for name, state in explicit.items()}
            new[which] = answer[:, -1].argmax(-1, keepdim=True)
            together[which] = torch.cat([together[which], new[which]], 1)
    assert all(map(torch.equal, together, alone))
    with pytest.raises(ArgumentError, match=r"position is missing: .* it is a state"):
        runtime(input_ids=tokens[0])


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_cache_that_is_full(kind: str) -> None:
    """A call beyond its room is refused, and a shorter one goes on."""
    _, runtime = deployed(kind)
    session, tokens = Session(runtime), prompt(1, ROOM + 1)
    text = r"the state 'keys_0' is full: index 32 at \(32,\) is not one of the 32 of dimension 2, 0 to 31; reset the"
    with pytest.raises(ArgumentError, match=text):
        session(tokens)
    session(tokens[:, :20].contiguous())
    with pytest.raises(ArgumentError, match=text.replace(r"\(32,\)", r"\(12,\)")):
        session(tokens[:, 20:].contiguous())
    answer = session(tokens[:, 20:ROOM].contiguous())
    torch.testing.assert_close(answer, Session(runtime)(tokens[:, :ROOM].contiguous()), rtol=1e-4, atol=1e-4)
    with pytest.raises(ArgumentError, match="is full"):
        session(tokens[:, :1].contiguous())
    with pytest.raises(ArgumentError, match="id 50 at"):
        Session(runtime)(torch.full((1, 1), WORDS))
    with pytest.raises(ArgumentError, match="x is an empty batch"):
        session(tokens[:, :0].contiguous())


def test_a_session_goes_on_with_as_many_sequences() -> None:
    session = Session(deployed("gpt2")[1])
    session(prompt(2))
    with pytest.raises(
        ArgumentError, match=r"session's 'keys_0' has shape \(2, .*, and this call needs \(3, .*; reset"
    ):
        session(prompt(3))
    session.reset()
    assert session(prompt(3)).shape == (3, 1, WORDS)


def test_keys_that_heads_share_are_read_where_they_lie() -> None:
    """Not repeated for each head, which would copy the cache for every token; and a cache is written in place."""
    _, runtime = deployed("llama")
    attention = [each for each in runtime.program.operations if each.kind == "attention"]
    assert all(runtime.program.values[each.inputs[1]].shape[1] == 2 for each in attention)
    states = 2 * 2 * 2 * ROOM * 32 * 4  # layers, keys and values, heads, rows of whole lanes
    assert states <= runtime.item_bytes < states + states // 2


def test_a_sparse_decoder() -> None:
    """Dendritic layers, and weights of 16 bits."""
    sparse = model("llama")
    optimizer = torch.optim.SGD(sparse.parameters(), 0.01)
    perforator = sparbor.perforate(sparse, optimizer, sparbor.Recipe(sparsity=0.7), total_steps=2)
    for _ in range(2):
        sparse(prompt(2), labels=prompt(2)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert perforator is not None
    runtime = sparbor.deploy(**sparbor.decoder(sparse.eval(), ROOM), threads=2)
    assert any(report.kind == "sparse" for report in runtime.describe())
    tokens = prompt(2, 9)
    with torch.no_grad():
        logits = sparse(tokens).logits[:, -1:]
    session = Session(runtime)
    session(tokens[:, :4].contiguous())
    error = (session(tokens[:, 4:].contiguous()) - logits).norm() / logits.norm()
    assert float(error) < 0.05


def test_what_is_no_decoder() -> None:
    for given, options, text in (
        (nn.Linear(3, 3), {}, "model is a Linear: pass a causal language model"),
        (model("gpt2").transformer, {}, "GPT2Model, whose forward takes no logits_to_keep"),
        (model("gpt2"), {"max_length": 7}, "max_length=7: it must be a whole number from 8"),
        (model("gpt2"), {"logits_to_keep": -1}, "logits_to_keep=-1: it must be a whole number from 0"),
    ):
        with pytest.raises(ArgumentError, match=text):
            sparbor.decoder(given, **{"max_length": ROOM, **options})


# States of models of other kinds


class Counting(nn.Module):
    """A decoder of one layer whose cache and position are buffers, as models are written for other engines."""

    def __init__(self, batch: int = 2) -> None:
        super().__init__()
        self.inside = nn.Linear(8, 8)
        self.register_buffer("rows", torch.zeros(batch, 6, 8))
        self.inside.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        at = torch.arange(x.shape[1]) + self.inside.count
        self.rows[:, at] = self.inside(x)
        self.inside.count += x.shape[1]
        return self.rows.sum(1)


SEQUENCE = {"x": {1: "sequence"}}


def test_buffers_that_a_model_changes_are_states(tmp_path: Path) -> None:
    torch.manual_seed(0)
    counting = Counting()
    x = torch.randn(2, 3, 8)
    before = {name: each.clone() for name, each in counting.named_buffers()}
    runtime = sparbor.deploy(counting, {"x": x[:, :2].contiguous()}, dynamic_shapes=SEQUENCE, weights="exact")
    for name, each in counting.named_buffers():
        assert torch.equal(each, before[name])  # deploying runs it, and puts back what that changed
    assert {port.name for port in runtime.inputs} == {"x", "rows", "inside_count"}
    assert {port.name for port in runtime.outputs} == {"output", "next_rows", "next_inside_count"}
    runtime.save(tmp_path / "counting")
    session = Session(sparbor.load(tmp_path / "counting"))
    with torch.no_grad():
        for length in (1, 3, 2):
            torch.testing.assert_close(session(x[:, :length].contiguous()), counting(x[:, :length]))
    with pytest.raises(ArgumentError, match=r"put: index 6|is full: index 6"):
        session(x[:, :1].contiguous())
    with pytest.raises(ArgumentError, match="buffer 'rows' as it runs, so that it is a state, and it is not zeros"):
        sparbor.deploy(counting, {"x": x}, dynamic_shapes=SEQUENCE)


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(12, 8)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.cell(torch.cat([x, h], 1)))
        return h.sum(1, keepdim=True), h


def test_states_that_are_named() -> None:
    cell, x, h = Cell(), torch.randn(3, 4), torch.zeros(3, 8)
    runtime = sparbor.deploy(cell, (x, h), states={"h": "output_1"}, weights="exact")
    session = Session(runtime)
    with torch.no_grad():
        for _ in range(3):
            wanted, h = cell(x, h)
            torch.testing.assert_close(session(x), wanted)


@pytest.mark.parametrize(
    ("states", "text"),
    [
        (["h"], "states is a list: pass a dictionary"),
        ({"g": "output_1"}, "states has 'g', which is no input: those are x, h"),
        ({"h": "next"}, "states has 'next', which is no output: those are output_0, output_1"),
        ({"h": "output_0"}, r"states\['h'\] is 'output_0', which is f32 of shape \(batch, 1\), and the input f32 of"),
        ({"h": "output_1", "x": "output_1"}, "one of them is of another state already"),
    ],
)
def test_states_that_cannot_be(states: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        sparbor.deploy(Cell(), (torch.randn(3, 4), torch.zeros(3, 8)), states=states)


def test_all_that_is_given_cannot_be_states() -> None:
    with pytest.raises(ArgumentError, match="all inputs or all outputs are states"):
        sparbor.deploy(nn.Linear(4, 4), torch.randn(2, 4), states={"input": "output"})
