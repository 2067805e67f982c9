"""The native engine, or what stands in for it where it is not built: that imports, and says so when it is used."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from sparbor.errors import ArgumentError, EngineMissingError, ModelFileError

try:
    from sparbor._native import Model as Model
    from sparbor._native import RefusedError as RefusedError
    from sparbor._native import Session as Session
    from sparbor._native import activations as activations
    from sparbor._native import add_synapse_gradients as add_synapse_gradients
    from sparbor._native import byte_linear_share as byte_linear_share
    from sparbor._native import check_model as check_model
    from sparbor._native import convolution_share as convolution_share
    from sparbor._native import kernel_sets as kernel_sets
    from sparbor._native import linear_share as linear_share
    from sparbor._native import list_synapses as list_synapses
    from sparbor._native import operators as operators
    from sparbor._native import rank_slots as rank_slots
    from sparbor._native import sum_synapses as sum_synapses
    from sparbor._native import to_batch_layout as to_batch_layout

    built = True
except ImportError as error:
    built = False
    _reason = str(error)

    def _missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise EngineMissingError(
            f"Sparbor's native engine is not built into this installation ({_reason}). Training works without it; "
            "to deploy and run models, install a C++ compiler and then, in a checkout, run `make setup` or "
            "`pip install -e .`; elsewhere run `pip install --force-reinstall --no-binary sparbor sparbor`"
        )

    class Model:  # type: ignore[no-redef]
        """Cannot be made."""

        __init__ = _missing

    class Session:  # type: ignore[no-redef]
        """Cannot be made."""

        __init__ = _missing

    class RefusedError(ValueError):  # type: ignore[no-redef]
        """Is never raised."""

    activations = check_model = kernel_sets = operators = _missing
    byte_linear_share = convolution_share = linear_share = _missing
    add_synapse_gradients = list_synapses = rank_slots = sum_synapses = to_batch_layout = _missing


def choose_kernel_set() -> str:
    """The best of the kernel sets that this machine can run, or the one that SPARBOR_ISA names."""
    here: list[str] = kernel_sets()
    forced = os.environ.get("SPARBOR_ISA")
    if not forced:
        return here[0]
    if forced not in here:
        raise ArgumentError(f"SPARBOR_ISA={forced} cannot run on this machine, which has: {', '.join(here)}")
    return forced


def checked_graph(content: bytes) -> str:
    """The graph, as JSON of today's version, in what a model file holds; raises ModelFileError if it cannot run."""
    try:
        graph: str = check_model(content)
        return graph
    except RefusedError as error:
        raise ModelFileError("; ".join(error.args)) from None
