"""What a pre-trained sentence encoder is made sparse for: two classifications, and its embeddings as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sparbor
from bench.sentences import texts
from bench.sentences.network import SentenceModel, UnitLength
from bench.sentences.teacher import Teacher
from bench.sentences.texts import Text, Texts
from bench.sentences.tokens import Tokens, padded, tokens_of
from bench.sentences.training import Loss, Settings
from sparbor import Recipe

COMPARED = 1000  # held-out texts of whose embeddings all pairs are compared
TEMPERATURE = 2.0
# How much a teacher's hidden states count, beside its answers. Mean squares of their differences are small, 0.004 where
# a fifth of the weights have just been dropped: with a weight of 1 a student is free to forget what its teacher knew
# and the answers to these texts do not show, and loses more by that than by pruning.
STATES = 300.0
# How much an embedding's cosine with the teacher's counts beside them: the states say nearly all of it, and a little is
# gained by asking for what is measured (validation, 15,000 glosses, two epochs: 0.794 with 1, and 0.807 with 30).
COSINE = 30.0


@dataclass(frozen=True)
class Sources:
    """Where the pre-trained model and the texts lie."""

    model: Path
    wordnet: Path
    tweets: Path


@dataclass(frozen=True)
class Part:
    """Texts as tokens, and their classes."""

    tokens: Tokens
    labels: Tensor

    @classmethod
    def of(cls, tokenizer: Any, chosen: list[Text]) -> Part:
        """Those of ``chosen``."""
        return cls(tokens_of(tokenizer, [each.text for each in chosen]), torch.tensor([each.label for each in chosen]))


@dataclass(frozen=True)
class Task:
    """What is learnt from how many texts; ``dense`` is ``None`` where the pre-trained model is the dense one.

    A sparse model learns by ``sparse`` from the dense one's answers: from no label.
    """

    name: str
    load: Callable[[Sources], Texts]
    training_texts: int | None
    dense: Settings | None
    sparse: Settings
    measure: str
    seeds: tuple[int, ...] = (0,)
    lr_density_exponent: float | tuple[float, float] = 0.5

    @property
    def classifies(self) -> bool:
        """Whether there are classes, or embeddings."""
        return self.dense is not None

    def untrained(self, sources: Sources, classes: int) -> SentenceModel:
        """The pre-trained encoder with a head of its own."""
        head = nn.Linear(_width(sources.model), classes) if self.classifies else UnitLength()
        return SentenceModel(sources.model, head)

    def recipe(self, sparsity: float) -> Recipe:
        """How the encoder's linear layers become sparse; its embeddings and the head stay dense."""
        exclude = ("encoder.embeddings*", "head") if self.classifies else ("encoder.embeddings*",)
        return Recipe.fine_tuning(
            sparsity,
            pattern=sparbor.Quads(),
            distribution="uniform",
            exclude=exclude,
            lr_density_exponent=self.lr_density_exponent,
        )

    def loss_to_teacher(self, teacher: Teacher, tokens: Tokens) -> Loss:
        """How far a model's answers to the texts are from the teacher's, and its hidden states from the teacher's."""

        def loss(model: SentenceModel, places: list[int]) -> Tensor:
            ids, seen = padded([tokens[place] for place in places])
            wanted, their_states = teacher(places)
            said, states = model.with_states(ids, seen)
            far = sparbor.distillation_loss(states, their_states, hidden="mse", mask=seen)
            if self.classifies:
                return STATES * far + sparbor.distillation_loss(said, wanted, temperature=TEMPERATURE)
            return STATES * far + COSINE * sparbor.distillation_loss([said], [wanted], hidden="cosine")

        return loss

    def score(self, answers: Tensor, part: Part, dense: Tensor) -> float:
        """Accuracy in percent; of embeddings the rank correlation of their cosines with the ``dense`` model's."""
        if self.classifies:
            return 100 * float((answers.argmax(1) == part.labels).float().mean())
        return spearman(answers[:COMPARED], dense[:COMPARED])


def loss_to_labels(part: Part) -> Loss:
    """Cross-entropy."""

    def loss(model: SentenceModel, places: list[int]) -> Tensor:
        said = model(*padded([part.tokens[place] for place in places]))
        return F.cross_entropy(said.float(), part.labels[places])

    return loss


def spearman(one: Tensor, other: Tensor) -> float:
    """Rank correlation of the cosines of all pairs of rows, which have length 1."""
    above = torch.triu_indices(len(one), len(one), 1)
    ranks = torch.stack([(each @ each.T)[above[0], above[1]].argsort().argsort().double() for each in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


def _width(folder: Path) -> int:
    from transformers import AutoConfig

    width: int = AutoConfig.from_pretrained(folder).hidden_size
    return width


def _glosses(sources: Sources) -> Texts:
    return texts.glosses(sources.wordnet)


def _tweets(sources: Sources) -> Texts:
    return texts.tweets(sources.tweets)


ACCURACY, CORRELATION = "accuracy (%)", "rank correlation"
TASKS = {
    task.name: task
    for task in (
        Task("wordnet", _glosses, 30_000, Settings(5, 3e-4), Settings(5, 6e-4), ACCURACY, seeds=(0, 1)),
        Task("tweets", _tweets, None, Settings(3, 2e-4), Settings(3, 4e-4), ACCURACY),
        # Without dropout, which would be noise in what is to be matched, and with longer steps. Validation, 90 %,
        # 15,000 glosses, two epochs: 0.769 with dropout, 0.794 without; 0.816 at twice the rate, and 0.826 with steps
        # that get longer as the rate falls. 80 %, 15,000 glosses, one epoch: 0.856 in batches of 32, and in batches of
        # 16 0.864, but 0.858 where the embeddings of words learn too.
        Task(
            "embeddings",
            *(_glosses, None, None, Settings(6, 1.2e-3, batch=16, dropout=False, embeddings=False), CORRELATION),
            lr_density_exponent=(0.5, 1.0),
        ),
    )
}
