"""Progress bars of a benchmark run, one for each model."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.job.arms import Arm

STEPS_BETWEEN_UPDATES = 20  # an update at every step would be paid for by the training


class Bars:
    """A bar for each arm, with its validation accuracy and density."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._bars: dict[str, TaskID] = {}
        self._pending: dict[str, int] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, arms: Sequence[Arm], steps: int) -> None:
        """Show the bars; each arm takes ``steps`` steps, some of which may be done."""
        for arm in arms:
            self._bars[arm.name] = self._progress.add_task(arm.name, total=steps, completed=arm.steps, state="")
            self._pending[arm.name] = 0

    def advance(self, arm: Arm) -> None:
        """One more step of ``arm``."""
        self._pending[arm.name] += 1
        if self._pending[arm.name] < STEPS_BETWEEN_UPDATES:
            return
        self._show(arm)

    def epoch_done(self, arms: Sequence[Arm]) -> None:
        """Show what the epoch came to."""
        for arm in arms:
            self._show(arm)

    def _show(self, arm: Arm) -> None:
        last = arm.epochs[-1] if arm.epochs else None
        state = f"validation {last.validation_accuracy_percent:.2f} %, density {last.density:.3f}" if last else ""
        self._progress.update(self._bars[arm.name], advance=self._pending[arm.name], state=state)
        self._pending[arm.name] = 0
