"""Networks for sequences and sounds in plain PyTorch: recurrent, convolutional, and with attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from bench.network_zoo.network import LENGTHS, Network, frames, ids, in_order, ragged, rows, several, signals

SEQUENCES, SPEECH, TEXT = "sequences", "speech and sound", "text"
VOCABULARY = 200


class Recurrent(nn.Module):
    """An LSTM or GRU over all steps, and a linear layer for each of them."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU] | type[nn.RNN], layers: int = 1, both: bool = False) -> None:
        super().__init__()
        self.rnn = kind(32, 64, num_layers=layers, bidirectional=both, batch_first=True)
        self.fc = nn.Linear(128 if both else 64, 16)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, 16)."""
        return self.fc(self.rnn(x)[0])


class LastState(nn.Module):
    """A classifier of token sequences: embedding, stacked LSTM, the last layer's last state."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(VOCABULARY, 32), nn.LSTM(32, 64, 2, batch_first=True, dropout=0.2)
        self.fc = nn.Linear(64, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores."""
        _, (hidden, _) = self.lstm(self.embedding(tokens))
        return self.fc(hidden[-1])


class WithStates(nn.Module):
    """A GRU that is given a state and gives the next one, as in streaming; the time first, as PyTorch's default is."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc = nn.GRU(32, 48), nn.Linear(48, 16)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, length, 16) and the state (batch, 48)."""
        y, last = self.gru(x.transpose(0, 1), state.unsqueeze(0))
        return self.fc(y).transpose(0, 1), last.squeeze(0)


class CNNLSTM(nn.Module):
    """Convolutions over the time, then an LSTM in both directions, then the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(6, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 32, 3, padding=1)
        )
        self.lstm, self.fc = nn.LSTM(32, 32, bidirectional=True, batch_first=True), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        y, _ = self.lstm(F.relu(self.conv(x)).transpose(1, 2))
        return self.fc(y.mean(dim=1))


class Seq2SeqEncoder(nn.Module):
    """Bahdanau's encoder: both directions of a GRU, and a state for the decoder made of their last ones."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(VOCABULARY, 32), nn.GRU(32, 48, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(96, 48)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What attention looks at, and the first state."""
        outputs, hidden = self.rnn(self.embedding(tokens))
        return outputs, torch.tanh(self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1)))


class Chomp1d(nn.Module):
    """Takes away what the padding added on the right, so that nothing is seen of the future."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Shorter by `size`."""
        return x[:, :, : -self.size].contiguous()


class TemporalBlock(nn.Module):
    """Two causal, dilated convolutions and what bypasses them."""

    def __init__(self, inputs: int, outputs: int, dilation: int, kernel: int = 3) -> None:
        super().__init__()
        padding = (kernel - 1) * dilation
        self.net = nn.Sequential(
            *(weight_norm(nn.Conv1d(inputs, outputs, kernel, padding=padding, dilation=dilation)), Chomp1d(padding)),
            *(nn.ReLU(), nn.Dropout(0.1)),
            *(weight_norm(nn.Conv1d(outputs, outputs, kernel, padding=padding, dilation=dilation)), Chomp1d(padding)),
            *(nn.ReLU(), nn.Dropout(0.1)),
        )
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """The same length."""
        return F.relu(self.net(x) + (x if self.downsample is None else self.downsample(x)))


class TCN(nn.Module):
    """A temporal convolutional network (Bai et al. 2018), with weight norm."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(TemporalBlock(6, 32, 1), TemporalBlock(32, 32, 2), TemporalBlock(32, 32, 4))
        self.linear = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Scores, of the last step."""
        return self.linear(self.network(x)[:, :, -1])


class WaveNet(nn.Module):
    """Gated, dilated, causal convolutions whose skips are added up (van den Oord et al. 2016)."""

    def __init__(self, channels: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.start = nn.Conv1d(1, channels, 1)
        self.filters = nn.ModuleList(nn.Conv1d(channels, channels, 2, dilation=2**n) for n in range(layers))
        self.gates = nn.ModuleList(nn.Conv1d(channels, channels, 2, dilation=2**n) for n in range(layers))
        self.residuals = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(layers))
        self.skips = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(layers))
        self.end1, self.end2 = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores for the next sample at each place."""
        x, skip = self.start(x), torch.zeros(())
        for index, (filter_, gate) in enumerate(zip(self.filters, self.gates, strict=True)):
            padded = F.pad(x, (2**index, 0))
            z = torch.tanh(filter_(padded)) * torch.sigmoid(gate(padded))
            skip = skip + self.skips[index](z)
            x = x + self.residuals[index](z)
        return self.end2(F.relu(self.end1(F.relu(skip))))


class DSCNN(nn.Module):
    """Keyword spotting by depthwise separable convolutions (Zhang et al. 2017)."""

    def __init__(self, width: int = 64, keywords: int = 12) -> None:
        super().__init__()

        def separable() -> nn.Sequential:
            return nn.Sequential(
                *(nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
                *(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            )

        self.first = nn.Sequential(
            nn.Conv2d(1, width, (10, 4), 2, (5, 1), bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(separable() for _ in range(4)))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(width, keywords)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.fc(torch.flatten(self.pool(self.blocks(self.first(x))), 1))


class M5(nn.Module):
    """Words from raw samples by one-dimensional convolutions (Dai et al. 2016)."""

    def __init__(self, width: int = 32, words: int = 35) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(1, width, 80, 16), nn.BatchNorm1d(width)
        self.conv2, self.bn2 = nn.Conv1d(width, 2 * width, 3), nn.BatchNorm1d(2 * width)
        self.pool, self.fc = nn.MaxPool1d(4), nn.Linear(2 * width, words)

    def forward(self, x: Tensor) -> Tensor:
        """The logarithms of probabilities."""
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = F.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return F.log_softmax(self.fc(x), dim=2).squeeze(1)


class Conformer(nn.Module):
    """A block of a Conformer: half a feed-forward part, attention, a gated convolution, the other half."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.half1, self.half2 = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
            for _ in range(2)
        )
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2, self.pointwise1 = nn.LayerNorm(width), nn.Conv1d(width, 2 * width, 1)
        self.depthwise, self.bn = nn.Conv1d(width, width, 15, padding=7, groups=width), nn.BatchNorm1d(width)
        self.pointwise2, self.norm3 = nn.Conv1d(width, width, 1), nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The same shape; `mask` is true where there is sound."""
        x = x + 0.5 * self.half1(x)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, key_padding_mask=~mask, need_weights=False)[0]
        y = F.glu(self.pointwise1(self.norm2(x).transpose(1, 2)), dim=1)
        x = x + self.pointwise2(F.silu(self.bn(self.depthwise(y)))).transpose(1, 2)
        return self.norm3(x + 0.5 * self.half2(x))


class Positions(nn.Module):
    """Sines and cosines of the place, added."""

    pe: Tensor

    def __init__(self, width: int, longest: int = 512) -> None:
        super().__init__()
        place = torch.arange(longest).unsqueeze(1)
        rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(longest, width)
        table[:, 0::2], table[:, 1::2] = torch.sin(place * rates), torch.cos(place * rates)
        self.register_buffer("pe", table)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + self.pe[: x.size(1)]


class TransformerClassifier(nn.Module):
    """PyTorch's own encoder with padding masks, and the mean over what is no padding."""

    def __init__(self, width: int = 64, norm_first: bool = False) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(VOCABULARY, width), Positions(width)
        layer = nn.TransformerEncoderLayer(width, 4, 128, batch_first=True, norm_first=norm_first, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(width, 5)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Scores; `mask` is true where there is text."""
        x = self.encoder(self.positions(self.embedding(tokens) * 8.0), src_key_padding_mask=~mask)
        kept = mask.unsqueeze(-1).float()
        return self.fc((x * kept).sum(1) / kept.sum(1).clamp(min=1))


class CausalTransformer(nn.Module):
    """A small GPT written by hand: one projection for q, k and v, a causal mask, tied to nothing."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 2, longest: int = 512) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(longest, width)
        self.blocks = nn.ModuleList(GPTBlock(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores for the next token at each place."""
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class GPTBlock(nn.Module):
    """Attention to what came before, and a feed-forward part."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(width, dim=2)
        q, k, v = (each.view(batch, length, self.heads, -1).transpose(1, 2) for each in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
        hidden = torch.triu(torch.ones(length, length, dtype=torch.bool, device=x.device), diagonal=1)
        weights = F.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class TextCNN(nn.Module):
    """Convolutions of three widths over the words, and the maximum over the time (Kim 2014)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.convs = nn.ModuleList(nn.Conv1d(width, 32, kernel, padding=kernel // 2) for kernel in (3, 5, 7))
        self.dropout, self.fc = nn.Dropout(0.5), nn.Linear(96, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores."""
        x = self.embedding(tokens).permute(0, 2, 1)
        found = [torch.max(F.relu(conv(x)), dim=2).values for conv in self.convs]
        return self.fc(self.dropout(torch.cat(found, dim=1)))


class FastText(nn.Module):
    """The mean of the words' vectors, and two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.fc1, self.fc2 = nn.Embedding(VOCABULARY, 64), nn.Linear(64, 64), nn.Linear(64, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores."""
        return self.fc2(F.relu(self.fc1(self.embedding(tokens).mean(dim=1))))


class AttentionPooling(nn.Module):
    """A GRU whose steps are weighed by a learned attention, padding left out."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.score, self.fc = nn.GRU(32, 64, batch_first=True), nn.Linear(64, 1), nn.Linear(64, 5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Scores."""
        y, _ = self.gru(x)
        weights = self.score(torch.tanh(y)).squeeze(-1).masked_fill(~mask, -1e4).softmax(dim=1)
        return self.fc(torch.bmm(weights.unsqueeze(1), y).squeeze(1))


class NBeats(nn.Module):
    """Blocks that each forecast a part and take away what they explained of the past."""

    def __init__(self, past: int = 32, future: int = 8, width: int = 64) -> None:
        super().__init__()
        self.past = past
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(past, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, past + future)
            )
            for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, future)."""
        forecast = torch.zeros(())
        for block in self.blocks:
            theta = block(x)
            x = x - theta[:, : self.past]
            forecast = forecast + theta[:, self.past :]
        return forecast


def _mask(batch: int, length: int, _: torch.Generator) -> Tensor:
    return ragged(batch, length)


def _sequence(name: str, build: type[nn.Module] | object, inputs: object, family: str = SEQUENCES) -> Network:
    return Network(name, family, "torch", build, inputs, LENGTHS)  # type: ignore[arg-type]


_TOKENS = ids(VOCABULARY)

NETWORKS = (
    _sequence("lstm", lambda: Recurrent(nn.LSTM), frames(32)),
    _sequence("lstm-bidirectional", lambda: Recurrent(nn.LSTM, both=True), frames(32)),
    _sequence("lstm-stacked", lambda: Recurrent(nn.LSTM, layers=3), frames(32)),
    _sequence("gru", lambda: Recurrent(nn.GRU), frames(32)),
    _sequence("gru-bidirectional-stacked", lambda: Recurrent(nn.GRU, layers=2, both=True), frames(32)),
    _sequence("rnn", lambda: Recurrent(nn.RNN), frames(32)),
    _sequence("gru-with-state", WithStates, in_order(frames(32), rows(48))),
    _sequence("gru-attention-pooling", AttentionPooling, in_order(frames(32), _mask)),
    _sequence("cnn-lstm", CNNLSTM, signals(6)),
    _sequence("tcn", TCN, signals(6)),
    Network("n-beats", SEQUENCES, "torch", NBeats, rows(32)),
    _sequence("wavenet", WaveNet, signals(1), SPEECH),
    Network("ds-cnn", SPEECH, "torch", DSCNN, rows(1, 49, 10)),
    Network("m5", SPEECH, "torch", M5, rows(1, 2000)),
    _sequence("conformer", Conformer, in_order(frames(64), _mask), SPEECH),
    _sequence("lstm-classifier", LastState, _TOKENS, TEXT),
    _sequence("seq2seq-encoder", Seq2SeqEncoder, _TOKENS, TEXT),
    _sequence("transformer-encoder", TransformerClassifier, several(tokens=_TOKENS, mask=_mask), TEXT),
    _sequence("transformer-encoder-norm-first", lambda: TransformerClassifier(norm_first=True),
              several(tokens=_TOKENS, mask=_mask), TEXT),
    _sequence("gpt-by-hand", CausalTransformer, _TOKENS, TEXT),
    _sequence("text-cnn", TextCNN, _TOKENS, TEXT),
    _sequence("fasttext", FastText, _TOKENS, TEXT),
)  # fmt: skip
