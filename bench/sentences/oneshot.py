"""What one shot leaves of a pre-trained sentence encoder's embeddings, how long it takes, and how much memory.

``python bench/oneshot.py --model DIR --wordnet DIR --json FILE``

The model is one of Hugging Face with its tokenizer; figures were taken with all-MiniLM-L6-v2. The texts are the glosses
of WordNet, ``data.noun`` and so on (Debian's ``wordnet-base``), before their first semicolon, in the order of their
MD5 (``bench/sentences/texts.py``): of test texts the first 1,000 are held out, the calibration are the first training
texts, sorted by length so that batches have few masked tokens. The embedding is the mean over tokens, of length 1. What
is compared are the cosines of all pairs of held-out texts: their Spearman rank correlation with the dense model's.

Each row is made in a process of its own, which measures the memory that ``sparsify`` adds at its peak.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import sparbor
from bench.job.memory_probe import probe
from bench.results_file import ResultsFile
from bench.sentences.tasks import COMPARED, spearman
from bench.sentences.texts import glosses
from bench.sentences.tokens import LONGEST

METHODS = ("magnitude", "wanda", "second-order")
PATTERNS: dict[str, Any] = {"slots": sparbor.Slots(), "quads": sparbor.Quads()}
BATCH = 32


def batches(tokenizer: Any, texts: Sequence[str]) -> list[dict[str, Tensor]]:
    """What the model is called with."""
    settings = {"return_tensors": "pt", "padding": True, "truncation": True, "max_length": LONGEST}
    return [dict(tokenizer(list(texts[at : at + BATCH]), **settings)) for at in range(0, len(texts), BATCH)]


@torch.no_grad()
def embeddings(model: nn.Module, calls: Sequence[dict[str, Tensor]]) -> Tensor:
    """One row of length 1 for each text: the mean of its tokens' states."""
    found = []
    for call in calls:
        tokens = call["attention_mask"][..., None].float()
        found.append((model(**call).last_hidden_state * tokens).sum(1) / tokens.sum(1))
    return torch.nn.functional.normalize(torch.cat(found), dim=-1)


def row(options: argparse.Namespace, method: Any, pattern: str) -> dict[str, Any]:
    """One model made sparse, and what is left of its embeddings."""
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model: nn.Module = AutoModel.from_pretrained(options.model).eval()
    texts = glosses(options.wordnet)
    held_out = batches(tokenizer, [each.text for each in texts.test[:COMPARED]])
    calibration = batches(tokenizer, sorted((each.text for each in texts.training[: options.items]), key=len))
    dense = embeddings(model, held_out)
    made: list[Any] = []
    begun, worked = time.perf_counter(), time.process_time()
    memory = probe(
        lambda: made.append(
            sparbor.sparsify(
                model,
                calibration,
                options.sparsity,
                method=method,
                pattern=PATTERNS[pattern],
                exclude=("pooler*",),
            )
        )
    )
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    errors = [each.error for each in made[0].rows if each.error is not None]
    return {
        "method": method,
        "pattern": pattern,
        "sparsity": options.sparsity,
        "items": options.items,
        "density": made[0].density,
        "spearman": spearman(dense, embeddings(model, held_out)),
        "mean_layer_error": sum(errors) / len(errors) if errors else None,
        "seconds": seconds,
        "processor_seconds": worked,
        "threads": options.threads,
        "added_bytes": memory["growth_bytes"],
        "model_bytes": sum(each.numel() * each.element_size() for each in model.parameters()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each method with each pattern, but for rows that the file has already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder with a model of Hugging Face and its tokenizer")
    parser.add_argument("--wordnet", type=Path, required=True, metavar="DIR", help="a folder with WordNet's data files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the rows go")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--items", type=int, default=512, help="texts of the calibration (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=tuple(PATTERNS))
    options = parser.parse_args(arguments)
    results = ResultsFile(options.json)
    for method in options.methods:
        for pattern in options.patterns:
            key = {"method": method, "pattern": pattern, "sparsity": options.sparsity, "items": options.items}
            if not results.has(**key):
                with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                    results.add(fresh.submit(row, options, method, pattern).result())
                print({name: results.rows[-1][name] for name in ("method", "pattern", "spearman", "seconds")})
