"""All networks, by name."""

from __future__ import annotations

from importlib.util import find_spec

from bench.network_zoo import (
    hugging_face,
    hugging_face_text,
    sequences,
    tables,
    timm_models,
    torchvision_models,
    vision,
)
from bench.network_zoo.network import FAMILIES, Network

_ALL = [
    network
    for part in (torchvision_models, timm_models, vision, hugging_face_text, hugging_face, sequences, tables)
    for network in part.NETWORKS
]
NETWORKS: dict[str, Network] = {
    network.name: network for network in sorted(_ALL, key=lambda each: FAMILIES.index(each.family))
}
assert len(NETWORKS) == len(_ALL), "two networks have one name"


def importable(network: Network) -> bool:
    """Whether the package that it comes from is installed."""
    return find_spec(network.package) is not None
