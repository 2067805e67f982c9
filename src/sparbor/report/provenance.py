"""What the figures rest on: the data, the training, the recipe, the machine and the software."""

import json
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from sparbor.report.elements import details, element, listing, pairs, paragraph, section


def provenance_section(metrics: dict[str, Any]) -> Element:
    """All that a reader needs to doubt a figure, or to measure it again."""
    data, deployed = metrics["data"], metrics["deployed"]
    official = "yes" if data["official"] else "no: figures on it are not comparable with those on the official data"
    return section(
        "trust",
        "Can it be trusted?",
        paragraph(
            "Both models began with the same weights and saw the same batches, with the same optimizer. Every figure"
            " was measured in the run that wrote metrics.json, or stands as not measured. On the engine the scores of"
            " the whole test set differ"
            f" by {deployed['relative_error']:.2%} (‖y_engine − y‖ / ‖y‖) from those in PyTorch."
        ),
        element("h3", "Data"),
        pairs(
            {
                "source": data["source"],
                "which data": data["description"],
                "official bytes": official,
                "training images": f"{data['training_images']:,}",
                "validation images": f"{data['validation_images']:,}, the last of the training set",
                "test images": f"{data['test_images']:,}, read once, after training",
            }
        ),
        element("h3", "Training"),
        pairs(_readable(metrics["training"])),
        element("h3", "Environment"),
        pairs({**_readable(metrics["environment"]), "engine's kernels": deployed["kernels"]}),
        element("h3", "Recipe"),
        pairs(dict(_flat(metrics["recipe"]))),
        details(
            "The recipe as JSON, for sparbor.Recipe.from_dict",
            listing(json.dumps(metrics["recipe"], indent=2), "the recipe as JSON"),
        ),
    )


def _readable(entries: dict[str, Any]) -> dict[str, object]:
    return {name.replace("_", " "): "unknown" if value is None else value for name, value in entries.items()}


def _flat(entries: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings of settings by dotted names; lists, such as measured costs, stand in the JSON below."""
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
            yield f"{prefix}{name}", f"{len(value)} entries, below"
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
