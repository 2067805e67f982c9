"""The sentence study and its costs of serving run, on a tiny encoder and a handful of texts, and continue."""

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from bench.data.errors import DataError
from bench.sentences import texts as corpora
from bench.sentences.tasks import spearman
from bench.sentences.teacher import Teacher
from bench.sentences.tokens import answers, padded, shuffled
from tests import texts
from tests.test_benchmarks import run

CLASSES = ("03", "17")


def wordnet(folder: Path) -> Path:
    """Files as WordNet has them: a licence, then a line for each meaning; texts of a class have words of their own."""
    lot = random.Random(0)
    half = {"03": texts.WORDS[:6], "17": texts.WORDS[6:]}
    for part in corpora.PARTS_OF_SPEECH:
        lines = ["  1 A licence | with a bar"]
        for number in range(24):
            label = lot.choice(CLASSES)
            gloss = " ".join(lot.choices(half[label], k=lot.randint(2, 9)))
            lines.append(f'{number:08} {label} n 01 word 0 000 | {gloss}; "an example"')
        (folder / f"data.{part}").write_text("\n".join(lines) + "\n")
    return folder


def sources(folder: Path) -> list[str]:
    """The options that name a pre-trained model and texts."""
    model = folder / "model"
    model.mkdir()
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 64}
    config = texts.config()
    config.update(sizes)
    BertModel(config, add_pooling_layer=False).save_pretrained(model)
    texts.tokenizer(folder).save_pretrained(model)
    tweets = folder / "tweets.csv"
    tweets.write_text("sentiment,text\n" + "".join(f"{n % 3},the cat {n}\n" for n in range(12)))
    paths = {"--model": model, "--wordnet": wordnet(folder), "--tweets": tweets, "--scratch": folder / "kept"}
    return [str(word) for pair in paths.items() for word in pair]


def test_the_study_trains_deploys_and_continues_and_rivals_serve_its_dense_model(tmp_path: Path) -> None:
    file, options = tmp_path / "sentences.json", sources(tmp_path)
    one = ["--tasks", "wordnet", "--seeds", "0", "--arms", "dense", "80 %", "90 %", "--json", str(file)]
    result = run("sentence_study.py", *options, *one, COLUMNS="200")
    assert result.returncode == 0, result.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [(row["arm"], round(row["density"], 1)) for row in rows] == [("dense", 1.0), ("80 %", 0.2), ("90 %", 0.1)]
    assert all(50 <= row["test_int8"] <= 100 for row in rows)
    assert str(tmp_path / "model") not in file.read_text()

    others = ["--tasks", "wordnet", "embeddings", "tweets", "--seeds", "0", "--arms", "dense", "80 %"]
    assert run("sentence_study.py", *options, *others, "--json", str(file)).returncode == 0
    continued = json.loads(file.read_text())["rows"]
    assert continued[:3] == rows
    of_embeddings = {row["arm"]: row["test_torch"] for row in continued if row["task"] == "embeddings"}
    assert of_embeddings["dense"] == pytest.approx(1)
    assert 0.3 < of_embeddings["80 %"] < 1

    served = tmp_path / "serving.json"
    result = run("sentence_serving.py", *options, "--rounds", "1", "--json", str(served), COLUMNS="200")
    assert result.returncode == 0, result.stderr
    found = {(row["runtime"], row["arm"]): row for row in json.loads(served.read_text())["rows"]}
    assert len(found) == 7
    assert all(row["us_16"] > 0 and row["us_64"] > 0 and row["file_bytes"] > 0 for row in found.values())
    assert found["sparbor", "90 %"]["test"] == rows[2]["test_int8"]
    assert found["torch-eager", "dense"]["test"] == rows[0]["test_torch"] == found["onnxruntime", "dense"]["test"]
    assert found["sparbor", "90 %"]["file_bytes"] < found["torch-eager", "dense"]["file_bytes"]


def test_texts_lie_in_one_part_each_and_labels_are_their_files_numbers(tmp_path: Path) -> None:
    glosses = corpora.glosses(wordnet(tmp_path))
    parts = [{each.text for each in part} for part in (glosses.test, glosses.validation, glosses.training)]
    assert glosses.classes == CLASSES
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert not parts[0] & parts[2]
    assert len(parts[0]) == len(parts[1]) <= len(parts[2])
    for each in glosses.training:
        assert ("mat" in each.text.split()) <= (glosses.classes[each.label] == "17")
        assert ";" not in each.text
        assert "bar" not in each.text


def test_tweets_over_several_lines_with_broken_characters_and_twice(tmp_path: Path) -> None:
    file = tmp_path / "tweets.csv"
    file.write_text('text,sentiment\n"two\nlines \ufffd",good\n"two lines",bad\n,bad\nanother,bad\nthird,good\n')
    found = corpora.tweets(file)
    both = {each.text: found.classes[each.label] for part in (found.test, found.training) for each in part}
    both |= {each.text: found.classes[each.label] for each in found.validation}
    assert both == {"two lines": "good", "another": "bad", "third": "good"}


@pytest.mark.parametrize("content", [None, "a,b\n1,2\n"])
def test_a_corpus_that_is_not_there_or_another_is_refused(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "tweets.csv"
    if content:
        file.write_text(content)
    with pytest.raises(DataError, match="name"):
        corpora.tweets(file)
    with pytest.raises(DataError, match="cannot be read"):
        corpora.glosses(tmp_path)


def test_batches_have_texts_of_like_lengths_each_once_and_another_order_each_epoch() -> None:
    tokens = [[1] * length for length in random.Random(1).choices(range(1, 30), k=200)]
    first, second = (shuffled(tokens, 8, epoch) for epoch in (0, 1))
    assert sorted(place for batch in first for place in batch) == list(range(200))
    assert first != second
    assert first == shuffled(tokens, 8, 0)
    assert all(max(lengths) - min(lengths) <= 3 for batch in first for lengths in [[len(tokens[n]) for n in batch]])


def test_answers_are_in_the_order_of_the_texts() -> None:
    tokens = [[number] * (1 + number % 7) for number in range(100)]
    sums = answers(lambda ids, seen: (ids * seen).sum(1, keepdim=True), tokens)
    assert sums[:, 0].tolist() == [sum(each) for each in tokens]
    ids, seen = padded(tokens[:3])
    assert ids.shape == seen.shape == (3, 3)
    assert seen.sum(1).tolist() == [1, 2, 3]


class Echo(torch.nn.Module):
    """Answers with the first token; its two layers' states are each token and its negative. Notes whom it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def with_states(self, ids: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        self.asked += ids[:, 0].tolist()
        states = (ids * seen)[..., None].float()
        return ids[:, :1].float(), (states, -states)


def test_a_teacher_is_asked_once_for_each_text() -> None:
    echo, tokens = Echo(), [[number, *range(number)] for number in range(6)]
    teacher = Teacher(echo, tokens)  # type: ignore[arg-type]
    for places in ([4, 2], [5, 2, 0], [2, 4]):
        answers_to, states = teacher(places)
        ids, seen = padded([tokens[place] for place in places])
        wanted, their_states = Echo().with_states(ids, seen)
        assert torch.equal(answers_to, wanted)
        assert all(torch.equal(one, other) for one, other in zip(states, their_states, strict=True))
    assert echo.asked == [4, 2, 5, 0]


def test_rank_correlation_is_of_cosines() -> None:
    one = torch.nn.functional.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    turned = one @ torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))[0]
    assert spearman(one, turned) > 0.999
    assert abs(spearman(one, one[torch.randperm(20)])) < 0.6
