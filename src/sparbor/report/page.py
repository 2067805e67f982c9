"""The whole page, made from a run's metrics and its deployed model."""

import os
from importlib import resources
from pathlib import Path
from typing import Any

from sparbor.program import model_file
from sparbor.program.program import Program
from sparbor.report import metrics_file
from sparbor.report.elements import document, element, paragraph
from sparbor.report.figures import data_title, percent
from sparbor.report.outcome import accuracy_section, key_figures
from sparbor.report.provenance import provenance_section
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
        provenance_section(metrics),
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
