"""A run's checkpoint: what it needs to go on to the same result, replaced at once and refused by any other run."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparbor.errors import StateError
from sparbor.files import write_file

VERSION = 3


@dataclass(frozen=True)
class Checkpoint:
    """The file at ``path``. ``identity`` is all that the run's result depends on, as plain data.

    ``remedy`` is what errors advise.
    """

    path: Path
    identity: dict[str, Any]
    remedy: str

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file at once: whatever stops this leaves the old one or the new one."""
        content = io.BytesIO()
        torch.save({"identity": self._identity, "state": state}, content)
        write_file(self.path, content.getvalue())

    def load(self) -> dict[str, Any]:
        """The state that was saved, on the CPU.

        Raises:
            StateError: the file cannot be read, or is of another run or other data. It stays as it is.
        """
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            theirs, state = dict(saved["identity"]), dict(saved["state"])
        except Exception as error:  # a damaged file raises what it likes
            raise self._fault("cannot be read", error) from error
        ours = self._identity
        if unlike := [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]:
            difference = "; ".join(
                f"{name}: {theirs.get(name)!r} where this run has {ours.get(name)!r}" for name in unlike
            )
            raise StateError(f"checkpoint {self.path} is of another run ({difference}): {self.remedy}")
        return state

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """What fails while the state is taken over is the file's fault: it is damaged."""
        try:
            yield
        except Exception as error:
            raise self._fault("is damaged", error) from error

    @property
    def _identity(self) -> dict[str, Any]:
        return {"version": VERSION, **self.identity}

    def _fault(self, what: str, error: Exception) -> StateError:
        first = " ".join(str(error).split()).partition(". ")[0]  # behind it PyTorch advises to trust the file
        reason = first or type(error).__name__
        return StateError(f"checkpoint {self.path} {what} ({reason}): {self.remedy}")
