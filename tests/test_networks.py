"""Networks of the zoo train sparse, deploy, and answer as PyTorch does: those that need no package beyond the tests'.

`make networks` checks all of them, larger ones too.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.network_checks.check import check, largest_error, run, tensors
from bench.network_checks.command import main
from bench.network_checks.page import FOLDER, PAGE, ROWS, pages
from bench.network_zoo.network import FAMILIES, Network, call, ragged
from bench.network_zoo.registry import NETWORKS, importable
from tests.conftest import BENCH

torch.set_num_threads(1)

# All of them would take minutes: of Transformers one of each kind, and none that consists of what another one has.
HUGGING_FACE = ("minilm-sentences", "deberta-v2", "gpt2", "llama", "t5-encoder", "vit")
LIKE_OTHERS = (
    *(
        "vgg11",
        "unet",
        "pspnet",
        "fpn",
        "ssd",
        "dcgan-discriminator",
        "autoencoder",
        "m5",
        "cnn-lstm",
        "lstm-classifier",
    ),
    *("lstm-bidirectional", "lstm-stacked", "gru-bidirectional-stacked", "seq2seq-encoder", "gru-with-state"),
    *("transformer-encoder-norm-first", "tab-transformer", "wide-and-deep", "embeddings-mlp", "deepfm", "multi-task"),
    *("tabular-resnet", "dueling-q", "actor-critic", "siamese"),
)
TESTED = [
    network
    for network in NETWORKS.values()
    if (network.package == "torch" and network.name not in LIKE_OTHERS)
    or network.name.removeprefix("transformers/") in HUGGING_FACE
]
LENGTHS = (1, 33)  # of sequences; what runs at these runs at others


@pytest.mark.parametrize("network", TESTED, ids=lambda network: network.name)
def test_it_trains_sparse_deploys_and_answers_as_pytorch_does(network: Network) -> None:
    assert importable(network)
    lengths = tuple(each for each in LENGTHS if each <= max(network.lengths, default=0))
    row = check(network, lengths, encodings=("exact",))
    assert row["failed"] is None, row["error"]
    assert row["taken"] > 0
    assert row["density"] < 0.5


@pytest.mark.parametrize("encoding", ["exact", "word16"])
def test_an_answer_that_is_further_off_than_roundings_move_it_is_a_failure(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.network_checks.check.run", lambda *call: [1.1 * answer for answer in run(*call)])
    row = check(NETWORKS["mlp"], encodings=(encoding,))
    assert row["failed"] == "parity"
    assert f"{encoding} weights, batch" in row["error"]
    assert ": off by 0.1, more than " in row["error"]
    assert 0 < row[f"pytorch_{encoding}"] < 0.05


def test_every_network_has_a_family_and_a_name_of_its_package() -> None:
    assert {network.family for network in NETWORKS.values()} == set(FAMILIES)
    for network in NETWORKS.values():
        assert network.name.rpartition("/")[0] == ("" if network.package == "torch" else network.package)


@pytest.mark.parametrize("network", TESTED, ids=lambda network: network.name)
def test_inputs_have_the_batch_first_and_the_length_that_was_asked_for(network: Network) -> None:
    for batch in (1, 3):
        items = list(tensors(network.inputs(batch, max(network.lengths, default=0), torch.Generator())))
        assert all(len(each) == batch for each in items)


def test_masks_of_batches_are_ragged_and_hide_nobody() -> None:
    mask = ragged(5, 7)
    assert mask[0].all()
    assert mask.any(1).all()
    assert len(set(mask.sum(1).tolist())) == 5
    assert ragged(5, 1).all()


def test_a_difference_is_found_in_any_of_several_answers() -> None:
    wanted = [torch.ones(3), torch.tensor([1.0, -torch.inf])]
    assert largest_error([each.clone() for each in wanted], wanted) == 0
    assert largest_error([torch.ones(3), torch.tensor([1.1, -torch.inf])], wanted) == pytest.approx(0.1)
    assert largest_error([torch.ones(3), torch.tensor([1.0, 0.0])], wanted) == float("inf")
    assert largest_error([torch.full((3,), torch.nan), wanted[1]], wanted) == float("inf")
    with pytest.raises(Exception, match="shapes"):
        largest_error([torch.ones(3)], wanted)


class Stateful(torch.nn.Module):
    """Its second answer is not its first."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.calls = torch.nn.Linear(32, 32), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.fc(x) + (self.calls % 2)


def test_what_fails_is_a_row_that_says_where() -> None:
    def rows(batch: int, _: int, random: torch.Generator) -> torch.Tensor:
        return torch.randn(batch, 32, generator=random)

    def failed(build: object) -> str:
        network = Network("it", "other", "torch", build, rows)  # type: ignore[arg-type]
        return str(check(network)["failed"])

    assert failed(lambda: 1 / 0) == "build"
    assert failed(lambda: torch.nn.LayerNorm(32)) == "train", "nothing in it can become sparse"
    assert failed(Stateful) in ("deploy", "parity")
    assert failed(lambda: torch.nn.Sequential(torch.nn.Linear(32, 32))) == "None"


def test_the_pages_are_what_the_rows_make() -> None:
    made = pages(json.loads(ROWS.read_text()))
    assert {PAGE, *FOLDER.iterdir()} == set(made)
    for path, text in made.items():
        assert path.read_text() == text, "run python bench/networks.py --page"


def test_the_command_continues_and_a_crash_is_a_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCH / "networks.py"), "--json", str(file), "--only"]

    def run(*names: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *names], capture_output=True, text=True, timeout=280, env={**os.environ})

    first = run("mlp")
    assert first.returncode == 0, first.stderr
    assert "1/1 mlp deploys" in first.stdout
    second = run("mlp", "deep-and-cross")
    assert second.returncode == 0, second.stderr
    assert "1/1 deep-and-cross" in second.stdout
    assert [row["name"] for row in json.loads(file.read_text())["rows"]] == ["mlp", "deep-and-cross"]


def test_a_name_that_no_network_has_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["networks.py", "--only", "nothing-of-the-kind"])
    with pytest.raises(SystemExit, match="--only nothing-of-the-kind: there is no such network"):
        main()


def test_networks_are_called_as_their_users_call_them() -> None:
    network = NETWORKS["two-tower"]
    items = network.inputs(2, 0, torch.Generator().manual_seed(0))
    assert isinstance(items, dict)
    model = network.build().eval()
    assert torch.equal(call(model, items), model(items["user"], items["thing"]))  # type: ignore[arg-type]
