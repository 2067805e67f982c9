"""A deployed encoder or classifier as `transformers.pipeline` takes models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparbor.errors import ArgumentError
from sparbor.extras import brought_by
from sparbor.serving.token_model import IDS, MASK, TYPES, deployed, most_tokens, run


class PipelineModel:
    """A text encoder or classifier of Hugging Face on the engine, for its pipelines.

    It has what the pipelines "feature-extraction" and "text-classification" ask of a model, and nothing that others
    do: `pipeline("text-classification", model=PipelineModel(model, tokenizer), tokenizer=tokenizer)`.

    Args:
        model: such as a `BertForSequenceClassification`, dense or dendritic.
        tokenizer: its own.
        weights: how the engine stores them, as in :func:`sparbor.deploy`.
        threads: how many one call may use.
    """

    device = torch.device("cpu")
    input_modalities = ("text",)

    def __init__(self, model: nn.Module, tokenizer: Any, *, weights: str = "int8", threads: int = 1) -> None:
        if not hasattr(model, "config"):
            raise ArgumentError(f"model is a {type(model).__name__}: pass a text encoder or classifier of Hugging Face")
        most = most_tokens(model, tokenizer)
        self.config: Any = model.config
        self.runtime = deployed(model, tokenizer, weights=weights, threads=threads, calibration=None, most=most)
        # By this name a pipeline knows whether it is for such models.
        self.__class__ = type(type(model).__name__, (PipelineModel,), {})

    def __call__(self, **features: Tensor) -> Any:
        return self.forward(**features)

    def forward(self, **features: Tensor) -> Any:
        """What the PyTorch model returns: an object with `last_hidden_state`, or with `logits`."""
        with brought_by("hugging-face", "sparbor.serving.pipelines"):
            from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput
        answer: Any = run(self.runtime, {name: features[name] for name in (IDS, MASK, TYPES) if name in features})
        return BaseModelOutput(answer) if answer.dim() == 3 else SequenceClassifierOutput(logits=answer)

    def to(self, *_: Any) -> PipelineModel:
        """Itself: it runs on the CPU."""
        return self

    def can_generate(self) -> bool:
        """No: it makes no text."""
        return False
