"""Causal language models of Hugging Face, with a cache of keys and values that a session keeps from call to call."""

from __future__ import annotations

import inspect
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from sparbor.errors import ArgumentError
from sparbor.extras import brought_by

_LEAST = 8  # tokens of a cache, which the example's have room in
_TOKENS = 3  # of the example


class DeployArguments(TypedDict):
    """What `deploy` takes."""

    model: nn.Module
    example: dict[str, Tensor]
    dynamic_shapes: dict[str, dict[int, str]]
    states: dict[str, str]


def decoder(model: nn.Module, max_length: int, *, logits_to_keep: int = 1) -> DeployArguments:
    """What `deploy` takes to make a decoder of a language model of Hugging Face: `deploy(**decoder(model, 1024))`.

    The decoder takes `input_ids`, any number of tokens of any number of sequences, and returns `logits`. The keys and
    values of the tokens before, and how many there were, are states: a :class:`Session` remembers them, so that a call
    is given new tokens alone. It begins with a prompt, or goes on with several tokens or one, of as many sequences as
    before; those of a batch are equally long.

    Args:
        model: such as a `GPT2LMHeadModel` or a `LlamaForCausalLM`, dendritic or not.
        max_length: how many tokens of a sequence the cache has room for, from 8. A call beyond that is refused.
        logits_to_keep: of how many of the last tokens of a call logits are computed; 0 for all.

    Raises:
        ArgumentError: the model is not called as such models are, or keeps something else than keys and values.
        PackageMissingError: transformers is not installed.
    """
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise ArgumentError(f"model is a {type(model).__name__}: pass a causal language model of Hugging Face")
    for name, number, least in (("max_length", max_length, _LEAST), ("logits_to_keep", logits_to_keep, 0)):
        if not isinstance(number, int) or number < least:
            raise ArgumentError(f"{name}={number!r}: it must be a whole number from {least}")
    caches = _Decoder(model, max_length, logits_to_keep).first_caches()
    made = _with_parameters(list(caches))(model, max_length, logits_to_keep)
    example = {"input_ids": torch.arange(_TOKENS)[None], "position": torch.tensor(max_length // 4), **caches}
    free = {"input_ids": {0: "batch", 1: "sequence"}, **{name: {0: "batch"} for name in caches}}
    return DeployArguments(
        model=made, example=example, dynamic_shapes=free, states={name: _next(name) for name in ("position", *caches)}
    )


def _next(name: str) -> str:
    return f"next_{name}"


def _with_parameters(caches: list[str]) -> type[_Decoder]:
    """The class whose forward has a parameter for each cache: tracing does not know what `**` stands for."""

    def forward(self: _Decoder, input_ids: Tensor, position: Tensor, **caches: Tensor) -> dict[str, Tensor]:
        return _Decoder.forward(self, input_ids, position, **caches)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ("self", "input_ids", "position", *caches)
    forward.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return type("Decoder", (_Decoder,), {"forward": forward})


class _Decoder(nn.Module):
    def __init__(self, model: nn.Module, max_length: int, logits_to_keep: int) -> None:
        super().__init__()
        self.model = model
        self.config: Any = model.config
        self.max_length, self.logits_to_keep = max_length, logits_to_keep
        parameters = inspect.signature(model.forward).parameters
        self.cache_name = next((name for name in ("cache", "past_key_values") if name in parameters), "")
        missing = [name for name in ("input_ids", "logits_to_keep") if name not in parameters]
        if missing or not self.cache_name:
            raise ArgumentError(
                f"model is a {type(model).__name__}, whose forward takes no {(*missing, 'past_key_values')[0]}: pass a"
                " causal language model of Hugging Face, such as a GPT2LMHeadModel"
            )

    def forward(self, input_ids: Tensor, position: Tensor, **caches: Tensor) -> dict[str, Tensor]:
        """The logits, and the states after these tokens."""
        cache = self._cache()
        for number, layer in enumerate(cache.layers):
            layer.keys, layer.values = caches[f"keys_{number}"], caches[f"values_{number}"]
            layer.cumulative_length = position.clone()
            layer.device, layer.is_initialized = position.device, True
        answer = self._answer(input_ids, cache)
        new = {"position": position + input_ids.shape[1], **_kept(cache)}
        return {"logits": answer.logits, **{_next(name): state for name, state in new.items()}}

    def first_caches(self) -> dict[str, Tensor]:
        """Of one sequence, without tokens; of the shapes that a call makes them of."""
        cache, training = self._cache(), self.model.training
        self.model.eval()
        with torch.no_grad():
            self._answer(torch.zeros(1, 1, dtype=torch.long), cache)
        self.model.train(training)
        return {name: torch.zeros_like(kept) for name, kept in _kept(cache).items()}

    def _answer(self, input_ids: Tensor, cache: Any) -> Any:
        kept = {self.cache_name: cache, "use_cache": True, "logits_to_keep": self.logits_to_keep}
        return self.model(input_ids=input_ids, **kept)

    def _cache(self) -> Any:
        """An empty one, whose layers all have the whole room, also where a model looks back but some way."""
        with brought_by("hugging-face", "sparbor.decoder"):
            from transformers import cache_utils as caches
        cache = caches.StaticCache(config=self.config, max_cache_len=self.max_length)
        for number, layer in enumerate(cache.layers):
            if isinstance(layer, caches.StaticSlidingWindowLayer):
                cache.layers[number] = caches.StaticLayer(self.max_length)
            elif type(layer) is not caches.StaticLayer or not hasattr(layer, "cumulative_length"):
                raise ArgumentError(
                    f"layer {number} of the model keeps a {type(layer).__name__}, which is no cache of keys and values"
                    " that a session can keep: a decoder needs layers of attention, and transformers 5.18 or later"
                )
        return cache


def _kept(cache: Any) -> dict[str, Tensor]:
    """By name, layer after layer."""
    caches = dict[str, Tensor]()
    for number, layer in enumerate(cache.layers):
        caches |= {f"keys_{number}": layer.keys, f"values_{number}": layer.values}
    return caches
