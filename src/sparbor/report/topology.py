"""Where the synapses are: density over training, each layer's share, and maps of the deployed layers."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from sparbor.report.charts import Series, line_chart, sparkline, ticks
from sparbor.report.elements import Child, element
from sparbor.report.figures import percent
from sparbor.report.heat_map import heat_map
from sparbor.report.outcome import epoch_ticks, marks
from sparbor.report.parts import ARMS, details, figure, paragraph, section, table
from sparbor.report.synapse_maps import SynapseMap

DESCRIBED = 12  # changes of topology that a chart's description lists at the most


def topology_section(metrics: dict[str, Any], maps: Sequence[SynapseMap] | None, model: str) -> Element:
    """Density by epoch and by layer, and a map of each layer, where the deployed ``model`` lies beside the metrics."""
    children: list[Child] = [
        figure(_density_caption(metrics), _density_chart(metrics)),
        details("Density after each change of topology", _changes(metrics)),
        _layers(metrics),
    ]
    if metrics["dendritic"]["growth"]:
        children.append(_growth(metrics))
    children.append(element("h3", "Synapse maps of the deployed model"))
    if maps is None:
        children.append(
            paragraph(
                f"There are none here: {model} was not beside the metrics when this page was made.", class_="note"
            )
        )
    else:
        children.append(
            paragraph(
                "Neurons stand in the deployed model's order, in which those of a group of 16 read much the same"
                " inputs; inputs are divided into branches of 32. Layers that would be slower sparse are stored dense."
            )
        )
        kinds = {layer["name"]: layer for layer in metrics["deployed"]["layers"]}
        children += [_maps_of(f"map-{at}", each, kinds[each.name]) for at, each in enumerate(maps)]
    return section("synapses", "Where are the synapses?", *children)


def _density_caption(metrics: dict[str, Any]) -> str:
    grown = "; 100 % is all weights but those of dendrites, which add to them" if metrics["dendritic"]["growth"] else ""
    return f"Active weights (%) while training; each step is a change of topology{grown}"


def _density_chart(metrics: dict[str, Any]) -> Element:
    training = metrics["training"]
    changes = metrics["dendritic"]["densities"]
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
    most = max(value for _, value in (*points, *dense))
    return line_chart(
        "density-chart",
        "Density by epoch",
        f"{description}; at the end {points[-1][1]:.2f} %. The dense baseline keeps all weights.",
        series,
        marks(metrics),
        epoch_ticks(training["epochs"]),
        ticks(0, most, 5),
    )


def _changes(metrics: dict[str, Any]) -> Element:
    an_epoch = metrics["training"]["steps_an_epoch"]
    rows: list[Sequence[Child]] = [
        [f"{change['step']:,}", f"{change['step'] / an_epoch:.2f}", percent(change["density"])]
        for change in metrics["dendritic"]["densities"]
    ]
    return table("The dendritic model's density", ["optimizer steps", "epochs", "active weights"], rows)


def _layers(metrics: dict[str, Any]) -> Element:
    stored = {layer["name"]: layer for layer in metrics["deployed"]["layers"]}
    rows: list[Sequence[Child]] = []
    for at, layer in enumerate(metrics["dendritic"]["layers"]):
        packed = stored.get(layer["name"])
        rows.append(
            [
                layer["name"],
                " × ".join(map(str, layer["shape"])),
                f"{packed['kind']}, {packed.get('weights') or packed['precision']}" if packed else "–",
                f"{layer['weights']:,}",
                f"{layer['active_weights']:,}",
                percent(1 - layer["sparsity"]),
                _by_epoch(f"layer-{at}", layer["name"], metrics["dendritic"]["epochs"]),
                f"{packed['bytes']:,}" if packed else "–",
            ]
        )
    headings = ["layer", "weight's shape", "stored", "weights", "active", "density", "density by epoch", "bytes stored"]
    return table("Dendritic layers", headings, rows, words=2)


def _by_epoch(key: str, name: str, epochs: Sequence[dict[str, Any]]) -> Child:
    """A small line; files of earlier versions do not have the figures."""
    points = [
        (epoch["epoch"] + 1, epoch["layer_densities"][name])
        for epoch in epochs
        if name in epoch.get("layer_densities", {})
    ]
    if not points:
        return "–"
    values = ", ".join(f"{percent(value)} after epoch {at}" for at, value in points)
    return sparkline(key, f"Density of {name} by epoch", values, points, len(epochs))


def _growth(metrics: dict[str, Any]) -> Element:
    rows: list[Sequence[Child]] = [
        [
            f"{event['step']:,}",
            event["what"],
            str(event["generation"] + 1),
            "–" if event["score"] is None else f"{event['score']:.2f}",
        ]
        for event in metrics["dendritic"]["growth"]
    ]
    headings = ["optimizer steps", "dendrites were", "generation", "best validation accuracy by then (%)"]
    return table("Growth of dendrites", headings, rows, words=1)


def _maps_of(key: str, each: SynapseMap, stored: dict[str, Any]) -> Element:
    """One layer: what it reads of the image, if it does, and its tiles."""
    unread = int((each.synapses_of_inputs == 0).sum())
    silent = int((each.synapses_of_neurons == 0).sum())
    inputs, neurons = len(each.synapses_of_inputs), len(each.synapses_of_neurons)
    tile = f"{each.neurons} neurons × {each.inputs} inputs"
    what = "pixels" if each.pixels is not None else "inputs"
    facts = (
        f"{int(each.synapses_of_neurons.sum()):,} synapses, stored {stored['kind']}. It still reads"
        f" {inputs - unread:,} of {inputs:,} {what}; {silent:,} of {neurons:,} neurons have no synapse."
    )
    images = []
    planes = [] if each.pixels is None else list(each.pixels)
    for plane, counts in enumerate(planes):
        title = f"{each.name}: synapses per pixel" + (f", channel {plane}" if len(planes) > 1 else "")
        read = f"{int((counts > 0).sum())} of {counts.size} pixels are read, one by up to {int(counts.max())} neurons"
        images.append(figure(title, heat_map(f"{key}-pixels-{plane}", title, read, counts)))
    weights = stored["outputs"] * stored["fan_in"]
    if stored["active"] == weights:
        return element(
            "div", element("h4", each.name), paragraph(f"All {weights:,} weights are active."), class_="layer"
        )
    title = f"{each.name}: synapses in tiles of {tile} (rows: neurons, columns: inputs)"
    filled, most, places = int((each.tiles > 0).sum()), int(each.tiles.max()), each.neurons * each.inputs
    read = f"{filled} of {each.tiles.size} tiles have synapses, up to {most} of {places}"
    images.append(figure(title, heat_map(f"{key}-tiles", title, read, each.tiles)))
    return element(
        "div", element("h4", each.name), paragraph(facts), element("div", *images, class_="charts"), class_="layer"
    )
