"""Where the synapses are: density over training, each layer's share, and maps of the deployed layers."""

from collections.abc import Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from sparbor.report.charts import Series, heat_map, line_chart, sparkline, ticks
from sparbor.report.elements import Child, details, element, figure, paragraph, section, table
from sparbor.report.figures import ARMS, percent
from sparbor.report.outcome import epoch_ticks, marks
from sparbor.report.synapse_maps import SynapseMap

DESCRIBED = 12  # changes of topology that a chart's description lists at the most


def topology_section(metrics: dict[str, Any], maps: Sequence[SynapseMap] | None, model: str) -> Element:
    """Density by epoch and by layer, and a map of each layer, where the deployed ``model`` lies beside the metrics."""
    grown = metrics["dendritic"]["growth"]
    beside = "; 100 % is all weights but those of dendrites, which add to them" if grown else ""
    if maps is None:
        missing = f"There are none here: {model} was not beside the metrics when this page was made."
        drawn = [paragraph(missing, class_="note")]
    else:
        order = paragraph(
            "Neurons stand in the deployed model's order, in which those of a group of 16 read much the same"
            " inputs; inputs are divided into branches of 32. Layers that would be slower sparse are stored dense."
        )
        stored = {layer["name"]: layer for layer in metrics["deployed"]["layers"]}
        drawn = [order, *(_maps_of(f"map-{at}", each, stored[each.name]) for at, each in enumerate(maps))]
    return section(
        "synapses",
        "Where are the synapses?",
        figure(
            f"Active weights (%) while training; each step is a change of topology{beside}", _density_chart(metrics)
        ),
        details("Density after each change of topology", _changes(metrics)),
        _layers(metrics),
        _growth(grown) if grown else None,
        element("h3", "Synapse maps of the deployed model"),
        *drawn,
    )


def _density_chart(metrics: dict[str, Any]) -> Element:
    training, changes = metrics["training"], metrics["dendritic"]["densities"]
    points = [(0.0, 100.0)]
    points += [(change["step"] / training["steps_an_epoch"], 100 * change["density"]) for change in changes]
    points.append((float(training["epochs"]), points[-1][1]))
    dense = [(epoch["epoch"] + 1, 100 * epoch["density"]) for epoch in metrics["baseline"]["epochs"]]
    series = [
        Series(ARMS["baseline"], "baseline", [(0, dense[0][1]), *dense], step=True),
        Series(ARMS["dendritic"], "dendritic", points, step=True),
    ]
    described = points[:: max(1, len(points) // DESCRIBED)]
    description = "Dendritic model: " + ", ".join(f"{share:.1f} % from epoch {at:.1f}" for at, share in described)
    description += f"; at the end {points[-1][1]:.2f} %. The dense baseline keeps all weights."
    at, heights = epoch_ticks(training["epochs"]), ticks(0, max(value for _, value in (*points, *dense)), 5)
    return line_chart("density-chart", "Density by epoch", description, series, marks(metrics), at, heights)


def _changes(metrics: dict[str, Any]) -> Element:
    an_epoch = metrics["training"]["steps_an_epoch"]
    columns: dict[str, Callable[[Any], str]] = {
        "optimizer steps": lambda change: f"{change['step']:,}",
        "epochs": lambda change: f"{change['step'] / an_epoch:.2f}",
        "active weights": lambda change: percent(change["density"]),
    }
    return table("The dendritic model's density", metrics["dendritic"]["densities"], columns)


def _layers(metrics: dict[str, Any]) -> Element:
    stored = {layer["name"]: layer for layer in metrics["deployed"]["layers"]}
    rows = [
        {**layer, "packed": stored.get(layer["name"]), "key": f"layer-{at}"}
        for at, layer in enumerate(metrics["dendritic"]["layers"])
    ]
    columns: dict[str, Callable[[Any], Child]] = {
        "layer": lambda row: row["name"],
        "weight's shape": lambda row: " × ".join(map(str, row["shape"])),
        "stored": lambda row: _stored(row["packed"]),
        "weights": lambda row: f"{row['weights']:,}",
        "active": lambda row: f"{row['active_weights']:,}",
        "density": lambda row: percent(1 - row["sparsity"]),
        "density by epoch": lambda row: _by_epoch(row["key"], row["name"], metrics["dendritic"]["epochs"]),
        "bytes stored": lambda row: f"{row['packed']['bytes']:,}" if row["packed"] else "–",
    }
    return table("Dendritic layers", rows, columns, words=2)


def _stored(packed: dict[str, Any] | None) -> str:
    """What a layer is stored as; a hyphen for one that the model file has not."""
    return f"{packed['kind']}, {packed.get('weights') or packed.get('precision', '–')}" if packed else "–"


def _by_epoch(key: str, name: str, epochs: Sequence[dict[str, Any]]) -> Child:
    """A small line; files of earlier versions do not have the figures."""
    known = [epoch for epoch in epochs if name in epoch.get("layer_densities", {})]
    points = [(epoch["epoch"] + 1, epoch["layer_densities"][name]) for epoch in known]
    if not points:
        return "–"
    values = ", ".join(f"{percent(value)} after epoch {at}" for at, value in points)
    return sparkline(key, f"Density of {name} by epoch", values, points, len(epochs))


def _growth(events: Sequence[dict[str, Any]]) -> Element:
    columns: dict[str, Callable[[Any], str]] = {
        "optimizer steps": lambda event: f"{event['step']:,}",
        "dendrites were": lambda event: event["what"],
        "generation": lambda event: str(event["generation"] + 1),
        "best validation accuracy by then (%)": lambda event: (
            "–" if event["score"] is None else f"{event['score']:.2f}"
        ),
    }
    return table("Growth of dendrites", events, columns, words=1)


def _maps_of(key: str, each: SynapseMap, stored: dict[str, Any]) -> Element:
    """One layer: what it reads of the image, if it does, and its tiles."""
    images, heading = _pixel_maps(key, each), element("h4", each.name)
    weights = stored["outputs"] * stored["fan_in"]
    if stored["active"] == weights:
        return element("div", heading, paragraph(f"All {weights:,} weights are active."), class_="layer")
    inputs, neurons = each.synapses_of_inputs, each.synapses_of_neurons
    facts = (
        f"{int(neurons.sum()):,} synapses, stored {stored['kind']}. It still reads {int((inputs > 0).sum()):,} of"
        f" {len(inputs):,} {'inputs' if each.pixels is None else 'pixels'}; {int((neurons == 0).sum()):,} of"
        f" {len(neurons):,} neurons have no synapse."
    )
    title = (
        f"{each.name}: synapses in tiles of {each.neurons} neurons × {each.inputs} inputs"
        " (rows: neurons, columns: inputs)"
    )
    filled, most, places = int((each.tiles > 0).sum()), int(each.tiles.max()), each.neurons * each.inputs
    read = f"{filled} of {each.tiles.size} tiles have synapses, up to {most} of {places}"
    images.append(figure(title, heat_map(f"{key}-tiles", title, read, each.tiles)))
    return element("div", heading, paragraph(facts), element("div", *images, class_="charts"), class_="layer")


def _pixel_maps(key: str, each: SynapseMap) -> list[Element]:
    images = []
    planes = [] if each.pixels is None else list(each.pixels)
    for plane, counts in enumerate(planes):
        title = f"{each.name}: synapses per pixel" + (f", channel {plane}" if len(planes) > 1 else "")
        read = f"{int((counts > 0).sum())} of {counts.size} pixels are read, one by up to {int(counts.max())} neurons"
        images.append(figure(title, heat_map(f"{key}-pixels-{plane}", title, read, counts)))
    return images
