"""A Hugging Face model of texts on the engine: deployed by a tokenizer's example, and called without padding."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.lower.deploy import deploy

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
_EXAMPLE = ["A sentence to show what the model is called with.", "A shorter one."]
_MOST_EXAMPLE = 16  # tokens


class TokenModel(nn.Module):
    """A model of Hugging Face as the engine runs it: tokens in, the first of its answers out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        types = {} if token_type_ids is None else {TYPES: token_type_ids}
        answer = self.model(input_ids=input_ids, attention_mask=attention_mask, **types, return_dict=True)
        first: Tensor = answer[0]  # of an encoder the last states, of a classifier the logits
        return first


def deployed(
    model: nn.Module, tokenizer: Any, *, weights: str, threads: int, calibration: Sequence[str] | None, most: int
) -> Runtime:
    """The model on the engine, for any number of texts of any length; `calibration` are texts, cut to `most` tokens."""
    takes = inspect.signature(model.forward).parameters
    if IDS not in takes or MASK not in takes:
        raise ArgumentError(
            f"model is a {type(model).__name__}, whose forward takes no input_ids and attention_mask: pass an encoder"
            " or classifier of texts of Hugging Face, such as a BertModel"
        )
    names = [name for name in (IDS, MASK, TYPES) if name in takes and name in (IDS, MASK, *tokenizer.model_input_names)]

    def called(texts: Sequence[str], most: int) -> dict[str, Tensor]:
        encoded = tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt")
        return {name: encoded[name] for name in names}

    batches = None if calibration is None else [called([text], most) for text in calibration]
    example = called(_EXAMPLE, min(most, _MOST_EXAMPLE))
    runtime = deploy(TokenModel(model), example, weights=weights, threads=threads, calibration=batches)
    if any(isinstance(size, int) for port in runtime.inputs for size in port.shape):
        raise ArgumentError(f"the model takes texts of one length alone ({runtime.signature()}): it cannot be served")
    return runtime


def run(runtime: Runtime, features: Mapping[str, Tensor]) -> Tensor:
    """The answer to a padded batch of tokens, as the model gives it, but zeros where only padding stands.

    Texts whose padding comes after them are run one by one, each as long as it is: nothing is computed for padding, and
    one text at a time keeps what is computed in the processor's caches. Texts of one length have one plan.
    """
    inputs = [_numbers(features, name) for name in (port.name for port in runtime.inputs)]
    mask = inputs[[port.name for port in runtime.inputs].index(MASK)]
    lengths = mask.sum(1)
    if not np.array_equal(mask, np.arange(mask.shape[1]) < lengths[:, None]):  # padding stands elsewhere
        whole: Tensor = torch.from_numpy(runtime(*inputs))
        return whole
    tokens = len(runtime.outputs[0].shape) == 3
    shape = (len(mask), *((mask.shape[1],) if tokens else ()), int(runtime.outputs[0].shape[-1]))
    answer = np.zeros(shape, np.float32)
    for row, length in enumerate(lengths):
        if length:
            to = answer[row : row + 1, :length] if tokens else answer[row : row + 1]
            runtime(*(each[row : row + 1, :length] for each in inputs), out=to)
    return torch.from_numpy(answer)


def _numbers(features: Mapping[str, Tensor], name: str) -> npt.NDArray[np.int64]:
    """One input; a mask that is not given hides nothing, and types that are not given are the first."""
    if (given := features.get(name)) is None:
        given = torch.full_like(features[IDS], int(name == MASK))
    array: npt.NDArray[np.int64] = given.cpu().to(torch.int64).contiguous().numpy()
    return array


def most_tokens(model: nn.Module | Runtime, tokenizer: Any) -> int:
    """How many tokens a text may have: as many as the model has positions, or, without them, as the tokenizer says."""
    positions = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if isinstance(model, nn.Module) and isinstance(positions, int) and positions > 0:
        before = (_positions_before(each, positions) for each in model.modules())
        return positions - max(before, default=0)
    most = getattr(tokenizer, "model_max_length", None)
    return most if isinstance(most, int) and 0 < most < 2**31 else 512


def _positions_before(module: nn.Module, positions: int) -> int:
    """How many rows stand before the first token's in a table of positions, as RoBERTa has it, for padding."""
    if not isinstance(module, nn.Embedding) or module.num_embeddings != positions or module.padding_idx is None:
        return 0
    return module.padding_idx + 1
