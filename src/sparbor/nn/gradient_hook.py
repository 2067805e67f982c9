"""A hook on the parameter that a layer has now: layers exchange their parameters."""

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparbor.distributed.shards import is_sharded


class GradientHook:
    """Calls what masks a gradient whenever a backward pass brings one."""

    def __init__(self) -> None:
        self._handle: RemovableHandle | None = None

    def put_on(
        self, parameter: nn.Parameter, mask: Callable[[Tensor], Tensor | None], mask_shard: Callable[[Tensor], None]
    ) -> None:
        """Unless there is a hook already, or no gradient comes.

        A shard is no part of the graph: its gradient is put there, and ``mask_shard`` finds it there.
        """
        if self._handle is None and parameter.requires_grad:
            hooked: Any = parameter  # torch has not typed these hooks
            if is_sharded(parameter):
                handle = hooked.register_post_accumulate_grad_hook(mask_shard)
            else:
                handle = hooked.register_hook(mask)
            self._handle = cast(RemovableHandle, handle)

    def take_off(self) -> None:
        """If there is one."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
