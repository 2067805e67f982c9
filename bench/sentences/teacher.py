"""What a dense model says to the texts that others learn from: asked once for each, and kept."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.sentences.network import SentenceModel
from bench.sentences.tokens import Tokens, padded


class Teacher:
    """Answers and hidden states of ``model`` to ``tokens``.

    The states are kept with 16 bits, 4.6 KB for each token of MiniLM: of 100,000 glosses about 8 GB.
    """

    def __init__(self, model: SentenceModel, tokens: Tokens) -> None:
        self._model, self._tokens = model, tokens
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def __call__(self, places: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The answers to the texts at these places, and the states after each layer, ``(texts, tokens, features)``."""
        if new := [place for place in places if place not in self._kept]:
            self._ask(new)
        kept = [self._kept[place] for place in places]
        states = pad_sequence([its_states for _, its_states in kept], batch_first=True).float()
        return torch.stack([answer for answer, _ in kept]), list(states.unbind(2))

    def _ask(self, places: list[int]) -> None:
        said, states = self._model.with_states(*padded([self._tokens[place] for place in places]))
        by_token = torch.stack(states, 2).half()
        for place, answer, its_states in zip(places, said, by_token, strict=True):
            self._kept[place] = answer.float(), its_states[: len(self._tokens[place])].clone()
