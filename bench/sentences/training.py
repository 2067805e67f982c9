"""Fine-tuning of a sentence model: dense on labels, or sparse with the dense one as its teacher.

Steps are AdamW's, with a rate that rises for a tenth of the run and then falls to zero. Products are computed in
bfloat16 where that loses nothing that matters (``torch.autocast``), weights are kept in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import sparbor
from bench.sentences.network import SentenceModel
from bench.sentences.tokens import Tokens, shuffled
from bench.study.fine_tuning import rate_at
from sparbor import Recipe

WEIGHT_DECAY = 0.01

Loss = Callable[[Any, list[int]], Tensor]  # of a model, for the texts of a batch, which are at these places


@dataclass(frozen=True)
class Settings:
    """How long a run is, how long its steps are at most, whether the model's dropout is on and its embeddings learn."""

    epochs: int
    rate: float
    batch: int = 32
    dropout: bool = True
    embeddings: bool = True


def train(
    model: SentenceModel, tokens: Tokens, loss: Loss, settings: Settings, seed: int, recipe: Recipe | None = None
) -> float:
    """Train in place, and sparse if there is a recipe; the density of its sparse layers in the end."""
    model.encoder.embeddings.requires_grad_(settings.embeddings)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, settings.rate, weight_decay=WEIGHT_DECAY, fused=True)
    total_steps = settings.epochs * -(-len(tokens) // settings.batch)
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=total_steps) if recipe else None
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at((step + 1) / (total_steps + 1)))
    model.train()
    if not settings.dropout:
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
    for epoch in range(settings.epochs):
        for places in shuffled(tokens, settings.batch, seed * 1000 + epoch):
            # Of short texts PyTorch's fused attention, which it takes where nothing is dropped, is slow backwards.
            with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
                far = loss(model, places)
            far.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
    return perforator.density() if perforator else 1.0
