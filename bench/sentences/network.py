"""A sentence encoder, and what is made of the mean of a text's tokens: a score for each class, or an embedding."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class SentenceModel(nn.Module):
    """Tokens → the mean of the encoder's states over those that are no padding → what ``head`` makes of it."""

    def __init__(self, folder: str | Path, head: nn.Module) -> None:
        super().__init__()
        from transformers import AutoModel

        self.encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        self.head = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self._answer(self.encoder(input_ids=input_ids, attention_mask=attention_mask), attention_mask)

    def with_states(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The answer, and the hidden states after each of the encoder's layers."""
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        return self._answer(found, attention_mask), found.hidden_states[1:]  # the first is the embedding

    def _answer(self, found: Any, attention_mask: Tensor) -> Tensor:
        states = found.last_hidden_state
        seen = attention_mask.unsqueeze(-1).to(states.dtype)
        answer: Tensor = self.head((states * seen).sum(1) / seen.sum(1))
        return answer


class UnitLength(nn.Module):
    """Embeddings of length 1."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)
