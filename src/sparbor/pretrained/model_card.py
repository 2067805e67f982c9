"""The model card, `README.md`: what a hub shows of a directory, with figures that were measured, or none."""

from collections.abc import Mapping, Sequence
from typing import Any

from sparbor.errors import ArgumentError
from sparbor.pretrained.masks import LayerMask, density
from sparbor.recipe.checks import is_number

WRITTEN = "<!-- Written by sparbor.save_pretrained, anew each time; take this line out to keep what you change. -->"

Metrics = Mapping[str, str | float]


def checked_metrics(metrics: Any) -> Metrics:
    """What was measured, by name: texts and finite numbers."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        kind = type(metrics).__name__
        raise ArgumentError(f'metrics is a {kind}: pass a dictionary, such as {{"test accuracy": 0.803}}')
    for name, value in metrics.items():
        if not isinstance(name, str) or not (isinstance(value, str) or is_number(value)):
            raise ArgumentError(f"metrics[{name!r}] is {value!r}: it must be a text or a finite number")
    return metrics


def model_card(title: str, masks: Sequence[LayerMask], metrics: Metrics, *, hugging_face: bool) -> str:
    """The page, in Markdown, with the front matter that hubs read."""
    sparsity = f"{1 - density(masks):.1%} of the weights of {len(masks)} layers are zero."
    measured = [_table(("measured", "value"), list(metrics.items()))] if metrics else []
    layers = [_table(("layer", "weights", "active", "sparsity", "pattern"), [_row(mask) for mask in masks])]
    parts = [_front_matter(hugging_face), f"# {_cell(title)}", WRITTEN, sparsity, *measured]
    return "\n\n".join([*parts, "## How to load it", _how_to_load(hugging_face), "## Layers", *layers]) + "\n"


def _front_matter(hugging_face: bool) -> str:
    library = "transformers" if hugging_face else "pytorch"
    return f"---\nlibrary_name: {library}\ntags:\n- sparbor\n- sparse\n---"


def _how_to_load(hugging_face: bool) -> str:
    if hugging_face:
        lines = [
            "import sparbor, transformers",
            "model = sparbor.load_pretrained(directory)  # with its masks, to deploy or to train on",
            "same = transformers.AutoModel.from_pretrained(directory)  # dense, with zeros; needs no Sparbor",
        ]
    else:
        lines = [
            "import sparbor",
            "model = sparbor.load_pretrained(directory, model=Net())  # with its masks, to deploy or to train on",
        ]
    return "\n".join(["```python", *lines, "```"])


def _row(mask: LayerMask) -> tuple[object, ...]:
    count = mask.mask.numel()
    return f"`{mask.name}`", count, mask.active, f"{1 - mask.active / count:.1%}", f"`{mask.pattern}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in (head, ["---"] * len(head), *rows))


def _cell(value: object) -> str:
    """On one line, and without what ends a cell."""
    return " ".join(str(value).split()).replace("|", "\\|")
