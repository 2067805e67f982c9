"""The recurrent networks whose latency is measured."""

from torch import Tensor, nn


class Lstm(nn.Module):
    """One LSTM over a whole sequence: its outputs at all steps."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, steps, units)."""
        y: Tensor = self.lstm(x)[0]
        return y
