"""Names of an ONNX file as names in Python."""

from __future__ import annotations

import keyword
import re
from collections.abc import Container


def identifier(label: str, taken: Container[str] = ()) -> str:
    """The label with underscores for what an identifier has not, and one more while that is taken."""
    name = re.sub(r"\W+", "_", label).strip("_") or "unnamed"
    name = name if name.isidentifier() and not keyword.iskeyword(name) else f"_{name}"
    while name in taken:
        name += "_"
    return name
