"""Networks for tables, recommendations, agents and points in plain PyTorch; several inputs, several outputs."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench.network_zoo.network import Inputs, Network, in_order, rows, several

TABLES, OTHER = "tables", "other"
CATEGORIES = (10, 20, 50)  # of a table's columns


class ResNetBlock(nn.Module):
    """Norm, wider, narrower, and what bypasses them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.first, self.second = (
            nn.BatchNorm1d(width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + self.second(self.dropout(F.relu(self.first(self.norm(x)))))


def resnet() -> nn.Module:
    """The tabular ResNet of Gorishniy et al. 2021."""
    return nn.Sequential(
        nn.Linear(16, 64), *(ResNetBlock(64) for _ in range(3)), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3)
    )


def mlp() -> nn.Module:
    """Linear layers, batch norms, dropout."""
    return nn.Sequential(
        *(nn.Linear(16, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Linear(128, 64), nn.LayerNorm(64), nn.SELU(), nn.Linear(64, 3), nn.Softmax(dim=-1)),
    )


class EmbeddingMLP(nn.Module):
    """An embedding for each column of categories, beside the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, min(50, (size + 1) // 2)) for size in CATEGORIES)
        width = sum(min(50, (size + 1) // 2) for size in CATEGORIES)
        self.bn = nn.BatchNorm1d(8)
        self.layers = nn.Sequential(nn.Linear(width + 8, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 2))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Scores."""
        found = [embedding(categories[:, column]) for column, embedding in enumerate(self.embeddings)]
        return self.layers(torch.cat([*found, self.bn(numbers)], 1))


class FTTransformer(nn.Module):
    """A token for each column, a class token, PyTorch's transformer (Gorishniy et al. 2021)."""

    offsets: Tensor

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, width)), nn.Parameter(torch.zeros(8, width))
        self.categories = nn.Embedding(sum(CATEGORIES), width)
        self.register_buffer("offsets", torch.tensor([0, *CATEGORIES[:-1]]).cumsum(0))
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Scores."""
        x = numbers.unsqueeze(-1) * self.weight + self.bias
        x = torch.cat([self.cls.expand(len(x), -1, -1), x, self.categories(categories + self.offsets)], dim=1)
        return self.head(self.encoder(x)[:, 0])


class TabTransformer(nn.Module):
    """Attention between columns of categories, the numbers beside it (Huang et al. 2020)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in CATEGORIES)
        layer = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True)
        self.encoder, self.norm = nn.TransformerEncoder(layer, 2), nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(3 * width + 8, 64), nn.SELU(), nn.Linear(64, 2))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Scores."""
        tokens = torch.stack([each(categories[:, column]) for column, each in enumerate(self.embeddings)], dim=1)
        return self.mlp(torch.cat([self.encoder(tokens).flatten(1), self.norm(numbers)], dim=-1))


class DLRM(nn.Module):
    """Every two of the features multiplied (Naumov et al. 2019)."""

    left: Tensor
    right: Tensor

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, width), nn.ReLU())
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in CATEGORIES)
        count = len(CATEGORIES) + 1
        left, right = torch.tril_indices(count, count, offset=-1)
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.top = nn.Sequential(nn.Linear(width + count * (count - 1) // 2, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """A probability."""
        dense = self.bottom(numbers)
        sparse = [embedding(categories[:, column]) for column, embedding in enumerate(self.embeddings)]
        features = torch.stack([dense, *sparse], dim=1)
        products = torch.bmm(features, features.transpose(1, 2))
        pairs = products[:, self.left, self.right]
        return torch.sigmoid(self.top(torch.cat([dense, pairs], dim=1)))


class WideAndDeep(nn.Module):
    """A linear model of the categories beside a deep one (Cheng et al. 2016)."""

    offsets: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.deep = nn.Embedding(sum(CATEGORIES), 1), nn.Embedding(sum(CATEGORIES), 16)
        self.register_buffer("offsets", torch.tensor([0, *CATEGORIES[:-1]]).cumsum(0))
        self.mlp = nn.Sequential(nn.Linear(3 * 16 + 8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """A probability."""
        places = categories + self.offsets
        deep = self.mlp(torch.cat([self.deep(places).view(places.shape[0], -1), numbers], dim=1))
        return torch.sigmoid(self.wide(places).sum(dim=1) + deep).squeeze(1)


class DeepFM(nn.Module):
    """Products of all pairs by the square of the sum, beside a deep part (Guo et al. 2017)."""

    offsets: Tensor

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.Embedding(sum(CATEGORIES), 1), nn.Embedding(sum(CATEGORIES), width)
        self.register_buffer("offsets", torch.tensor([0, *CATEGORIES[:-1]]).cumsum(0))
        self.mlp = nn.Sequential(nn.Linear(3 * width, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, categories: Tensor) -> Tensor:
        """A probability."""
        places = categories + self.offsets
        found = self.second(places)
        pairs = 0.5 * (found.sum(1).pow(2) - found.pow(2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.first(places).sum(1) + pairs + self.mlp(found.flatten(1)))


class DCN(nn.Module):
    """Cross layers: x0 * (W x + b) + x (Wang et al. 2021)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """A score."""
        start = x
        for layer in self.cross:
            x = start * layer(x) + x
        return self.head(x)


class TwoTower(nn.Module):
    """Users and things, each a vector of length 1; how alike they are."""

    def __init__(self) -> None:
        super().__init__()
        self.user = nn.Sequential(nn.Embedding(100, 32), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
        self.thing = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, user: Tensor, thing: Tensor) -> Tensor:
        """A cosine."""
        return (F.normalize(self.user(user), dim=-1) * F.normalize(self.thing(thing), dim=-1)).sum(-1)


class ActorCritic(nn.Module):
    """A policy and a value from one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.actor, self.critic = nn.Linear(64, 16), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithms of probabilities (batch, actions), and a value (batch,)."""
        x = self.body(x)
        return F.log_softmax(self.actor(x), dim=-1), self.critic(x).squeeze(-1)


class Dueling(nn.Module):
    """The worth of a state plus how much better an action is than others, from pictures of a game."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(4, 16, 8, 4),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
        )
        self.value, self.advantage = nn.Linear(64, 1), nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        """A worth for each action; the pictures hold bytes as floats."""
        x = self.features(x / 255.0)
        advantage = self.advantage(x)
        return self.value(x) + advantage - advantage.mean(dim=1, keepdim=True)


class SquashedActor(nn.Module):
    """A soft actor-critic's policy: bounded spread, actions squashed; the critic takes state and action."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.mean, self.log_std = (
            nn.Sequential(nn.Linear(12, 64), nn.ReLU()),
            nn.Linear(64, 4),
            nn.Linear(64, 4),
        )
        self.critic = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, state: Tensor) -> dict[str, Tensor]:
        """Action, spread and worth."""
        x = self.net(state)
        action = torch.tanh(self.mean(x))
        std = self.log_std(x).clamp(-5, 2).exp()
        return {"action": action, "std": std, "worth": self.critic(torch.cat([state, action], dim=-1))}


class MultiTask(nn.Module):
    """Several heads on one body, given as a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 32), nn.GELU())
        self.heads = nn.ModuleDict({"age": nn.Linear(32, 1), "kind": nn.Linear(32, 5), "embedding": nn.Linear(32, 16)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """What each head says."""
        x = self.body(x)
        return {name: head(x) for name, head in self.heads.items()}


class ImageAndTable(nn.Module):
    """Pictures and numbers, each read by a part of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.table, self.head = nn.Sequential(nn.Linear(8, 32), nn.ReLU()), nn.Bilinear(32, 32, 16)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        """Scores."""
        return self.head(self.image(image), self.table(table))


class Siamese(nn.Module):
    """Twins: one network for both pictures, and the distance of what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 32),
        )

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """A distance for each pair."""
        return F.pairwise_distance(self.twin(left), self.twin(right))


class MixtureOfExperts(nn.Module):
    """All experts compute, and a gate weighs what they say."""

    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        self.gate = nn.Linear(16, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)) for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 16)."""
        weights = torch.softmax(self.gate(x), dim=1)
        said = torch.stack([expert(x) for expert in self.experts], dim=1)
        return torch.einsum("be,bef->bf", weights, said)


class TNet(nn.Module):
    """A matrix that turns the points, near the identity."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.size = size
        self.conv, self.bn = nn.Conv1d(size, 64, 1), nn.BatchNorm1d(64)
        self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, size * size)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, size, size)."""
        x = torch.max(F.relu(self.bn(self.conv(x))), 2, keepdim=True)[0].view(-1, 64)
        x = self.fc2(F.relu(self.fc1(x)))
        return (x + torch.eye(self.size).flatten()).view(-1, self.size, self.size)


class PointNet(nn.Module):
    """Clouds of points: each by itself, then the maximum (Qi et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = TNet()
        self.conv1, self.bn1 = nn.Conv1d(3, 64, 1), nn.BatchNorm1d(64)
        self.conv2, self.bn2 = nn.Conv1d(64, 128, 1), nn.BatchNorm1d(128)
        self.fc1, self.bn3, self.fc2 = nn.Linear(128, 64), nn.BatchNorm1d(64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """The logarithms of probabilities; x has shape (batch, 3, points)."""
        x = torch.bmm(x.transpose(2, 1), self.turn(x)).transpose(2, 1)
        x = F.relu(self.bn1(self.conv1(x)))
        x = torch.max(self.bn2(self.conv2(x)), 2)[0]
        return F.log_softmax(self.fc2(F.relu(self.bn3(self.fc1(x)))), dim=1)


class GraphConvolution(nn.Module):
    """Two graph convolutions on a dense neighbourhood matrix (Kipf & Welling 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, nodes: Tensor, neighbours: Tensor) -> Tensor:
        """(batch, nodes, 16)."""
        scaled = neighbours / neighbours.sum(-1, keepdim=True).clamp(min=1e-6)
        x = F.relu(torch.bmm(scaled, self.fc1(nodes)))
        return torch.bmm(scaled, self.fc2(x))


class NeRF(nn.Module):
    """Colour and density at points of space: sines of many rates, one input twice, softplus."""

    rates: Tensor

    def __init__(self, rates: int = 4) -> None:
        super().__init__()
        self.register_buffer("rates", 2.0 ** torch.arange(rates))
        width = 3 + 6 * rates
        self.first = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(64 + width, 64), nn.ReLU())
        self.density, self.colour = nn.Linear(64, 1), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Colour (batch, 3) and density (batch, 1)."""
        angles = (x[..., None, :] * self.rates[:, None]).flatten(-2)
        x = torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=-1)
        x = self.second(torch.cat([self.first(x), x], dim=-1))
        return torch.sigmoid(self.colour(x)), F.softplus(self.density(x))


def categories(batch: int, _: int, random: Generator) -> Inputs:
    """A category for each column."""
    return torch.stack([torch.randint(size, (batch,), generator=random) for size in CATEGORIES], 1)


def users(batch: int, _: int, random: Generator) -> Inputs:
    """Who is asked about."""
    return torch.randint(100, (batch,), generator=random)


def neighbours(batch: int, _: int, random: Generator) -> Inputs:
    """Which of 12 nodes are joined, none left alone."""
    return (torch.rand(batch, 12, 12, generator=random) > 0.7).float() + torch.eye(12)


_TABLE = in_order(categories, rows(8))

NETWORKS = (
    Network("mlp", TABLES, "torch", mlp, rows(16)),
    Network("tabular-resnet", TABLES, "torch", resnet, rows(16)),
    Network("embeddings-mlp", TABLES, "torch", EmbeddingMLP, _TABLE),
    Network("ft-transformer", TABLES, "torch", FTTransformer, _TABLE),
    Network("tab-transformer", TABLES, "torch", TabTransformer, _TABLE),
    Network("dlrm", TABLES, "torch", DLRM, _TABLE),
    Network("wide-and-deep", TABLES, "torch", WideAndDeep, _TABLE),
    Network("deepfm", TABLES, "torch", DeepFM, categories),
    Network("deep-and-cross", TABLES, "torch", DCN, rows(32)),
    Network("two-tower", TABLES, "torch", TwoTower, several(user=users, thing=rows(24))),
    Network("mixture-of-experts", TABLES, "torch", MixtureOfExperts, rows(16)),
    Network("multi-task", TABLES, "torch", MultiTask, rows(16)),
    Network("actor-critic", OTHER, "torch", ActorCritic, rows(12)),
    Network("dueling-q", OTHER, "torch", Dueling, rows(4, 44, 44)),
    Network("squashed-actor", OTHER, "torch", SquashedActor, rows(12)),
    Network("image-and-table", OTHER, "torch", ImageAndTable, in_order(rows(3, 32, 32), rows(8))),
    Network("siamese", OTHER, "torch", Siamese, in_order(rows(1, 16, 16), rows(1, 16, 16))),
    Network("pointnet", OTHER, "torch", PointNet, rows(3, 64)),
    Network("graph-convolution", OTHER, "torch", GraphConvolution, in_order(rows(12, 16), neighbours)),
    Network("nerf", OTHER, "torch", NeRF, rows(3)),
)
