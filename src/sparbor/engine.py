"""The native engine, or what stands in for it where it is not built: that imports, and says so when it is used."""

from __future__ import annotations

from typing import Any, NoReturn

from sparbor.errors import EngineMissingError

try:
    from sparbor._native import Model, activations, kernel_sets, takes_tiles
except ImportError as error:
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

    activations = kernel_sets = takes_tiles = _missing

__all__ = ["Model", "activations", "kernel_sets", "takes_tiles"]
