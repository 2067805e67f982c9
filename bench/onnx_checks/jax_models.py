"""ONNX files of Flax's networks by jax2onnx, in an environment of their own: ``python jax_models.py FOLDER``.

That environment has jax, flax and jax2onnx, and need not have Sparbor. Of each matrix and kernel with more than a
thousand numbers the smallest 80 % are dropped. `bench/onnx_files.py --files` checks what is written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from jax import numpy as jnp
from jax2onnx import to_onnx

PRUNED, LEAST = 0.8, 1000


def main() -> None:
    """Write a file for each network."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for make, shape in ((Mlp, ("B", 64)), (Cnn, ("B", 32, 32, 3)), (Encoder, ("B", 16, 64))):
        model = make(nnx.Rngs(0))
        nnx.update(model, jax.tree.map(pruned, nnx.state(model)))
        file = folder / f"jax2onnx-{make.__name__.lower()}.onnx"
        to_onnx(model, [shape], return_mode="file", output_path=str(file))


def pruned(weights: Any) -> Any:
    """Without the smallest weights, if they are many."""
    if weights.ndim < 2 or weights.size <= LEAST:
        return weights
    return jnp.where(jnp.abs(weights) < jnp.quantile(jnp.abs(weights), PRUNED), 0, weights)


class Mlp(nnx.Module):  # type: ignore[misc]
    """Two layers, and a batch norm between them."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden, self.last = nnx.Linear(64, 256, rngs=rngs), nnx.Linear(256, 10, rngs=rngs)
        self.norm = nnx.BatchNorm(256, use_running_average=True, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        """Probabilities of classes."""
        return nnx.softmax(self.last(nnx.gelu(self.norm(self.hidden(x)))))


class Cnn(nnx.Module):  # type: ignore[misc]
    """Two convolutions."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first, self.second = nnx.Conv(3, 32, (3, 3), rngs=rngs), nnx.Conv(32, 64, (3, 3), rngs=rngs)
        self.last = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        """Scores of classes."""
        x = nnx.avg_pool(nnx.relu(self.first(x)), window_shape=(2, 2), strides=(2, 2))
        return self.last(nnx.relu(self.second(x)).mean((1, 2)))


class Encoder(nnx.Module):  # type: ignore[misc]
    """A layer of a transformer."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.attention = nnx.MultiHeadAttention(4, 64, 64, decode=False, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(64, rngs=rngs) for _ in range(2)])
        self.wider, self.narrower = nnx.Linear(64, 256, rngs=rngs), nnx.Linear(256, 64, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        """Its hidden states."""
        x = self.norms[0](x + self.attention(x))
        return self.norms[1](x + self.narrower(nnx.gelu(self.wider(x))))


if __name__ == "__main__":
    main()
