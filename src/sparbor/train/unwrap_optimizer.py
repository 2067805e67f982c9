"""Which optimizer's hooks are called when a trainer steps."""

from torch.optim import Optimizer

from sparbor.errors import ArgumentError


def unwrap_optimizer(optimizer: object) -> Optimizer:
    """The optimizer, or the one within it, if a trainer has wrapped it so that no hooks of the wrapper are called.

    Accelerate's wrapper is a ``torch.optim.Optimizer`` by class alone: torch has never set it up. Others that hold an
    optimizer (averaging ones, say) change weights after it has stepped; their own hooks are called then.

    Raises:
        ArgumentError: it is no optimizer, or hooks cannot be put on it.
    """
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"optimizer is a {type(optimizer).__name__}: must be a torch.optim.Optimizer")
    if hasattr(optimizer, "_optimizer_step_pre_hooks"):
        return optimizer
    within = getattr(optimizer, "optimizer", None)
    if not isinstance(within, Optimizer):
        raise ArgumentError(
            f"optimizer is a {type(optimizer).__name__} that takes no hooks: pass the torch.optim.Optimizer within it"
        )
    return unwrap_optimizer(within)
