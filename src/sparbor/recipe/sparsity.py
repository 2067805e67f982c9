"""Which sparsities a layer or a model can have."""

from sparbor.errors import ArgumentError


def check_sparsity(sparsity: float) -> float:
    """Refuse a sparsity outside [0, 1)."""
    if not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise ArgumentError(
            f"sparsity={sparsity!r}: must be at least 0 and below 1, the share of weights to drop (0.9 keeps a tenth)"
        )
    return sparsity
