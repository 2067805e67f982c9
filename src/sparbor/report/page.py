"""The whole page, made from a run's metrics and its deployed model, and what its figures rest on."""

import json
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from sparbor.program import model_file
from sparbor.program.program import Program
from sparbor.report import metrics_file
from sparbor.report.elements import details, document, element, listing, pairs, paragraph, section
from sparbor.report.figures import data_title, percent
from sparbor.report.outcome import accuracy_section, key_figures
from sparbor.report.savings import savings_section, training_section
from sparbor.report.synapse_maps import check_same_run, synapse_maps
from sparbor.report.topology import topology_section

MODEL = "model.safetensors"


def page(metrics: dict[str, Any], program: Program | None) -> bytes:
    """``report.html`` of a run that ended; without its deployed ``program`` there are no synapse maps."""
    maps = None if program is None else synapse_maps(program)
    if maps is not None:
        check_same_run(maps, metrics, MODEL)
    title = f"{data_title(metrics)}: {percent(metrics['dendritic']['sparsity'])} sparse against dense"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} – Sparbor"),
        element("style", resources.files(__package__).joinpath("style.css").read_text("utf-8")),
    )
    training, version = metrics["training"], metrics["environment"].get("sparbor") or "of an unknown version"
    introduction = paragraph(
        f"A dendritic network and its dense baseline, trained side by side. Epochs: {training['epochs']}. Seed:"
        f" {training['seed']}. Data: {metrics['data']['description']}."
    )
    main = element(
        "main",
        accuracy_section(metrics),
        savings_section(metrics),
        topology_section(metrics, maps, MODEL),
        training_section(metrics),
        _provenance(metrics),
    )
    origin = f"Made from metrics.json, version {metrics['version']}, of Sparbor {version}."
    header, footer = element("header", element("h1", title), introduction, key_figures(metrics)), paragraph(origin)
    return document(element("html", head, element("body", header, main, element("footer", footer)), lang="en"))


def page_of(path: Path) -> bytes:
    """The page of the ``metrics.json`` at ``path``, with maps of the model beside it if it is there.

    Raises:
        StateError: the metrics cannot be read, or are of another version or of another run than the model.
        ModelFileError: the model is damaged.
    """
    metrics, model = metrics_file.read(path), path.parent / MODEL
    return page(metrics, model_file.load(model) if os.path.lexists(model) else None)


def _provenance(metrics: dict[str, Any]) -> Element:
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
