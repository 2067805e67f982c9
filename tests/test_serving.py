"""sentence-transformers and transformers' pipelines give on the engine what they give on PyTorch."""

import json
import logging
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn
from transformers import BertForMaskedLM, BertForSequenceClassification, RobertaConfig, RobertaModel, pipeline

import sparbor
from sparbor.errors import ArgumentError, ModelFileError, StateError
from sparbor.sentence_transformers import EmbeddingsMoved, Encoder, export_sparbor_model
from sparbor.serving.pipelines import PipelineModel
from sparbor.serving.token_model import most_tokens
from tests.texts import POSITIONS, TEXTS, config, encoder, made_sparse, tokenizer, with_large_weights

MODES = ["mean", "cls", "max"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse encoder with its tokenizer, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("saved")
    sparbor.save_pretrained(made_sparse(encoder()), folder, tokenizer=tokenizer(folder))
    return folder


@pytest.fixture(scope="module")
def exact(saved: Path) -> Encoder:
    return Encoder(saved, weights="exact")


def of_pytorch(saved: Path, mode: str = "mean") -> SentenceTransformer:
    """The same encoder, dense with zeros, as sentence-transformers loads it."""
    model = SentenceTransformer(str(saved), device="cpu")
    return SentenceTransformer(modules=[model[0], *head(model[0], mode)], device="cpu")


def on_engine(first: Encoder, mode: str = "mean") -> SentenceTransformer:
    return SentenceTransformer(modules=[first, *head(first, mode)], device="cpu")


def head(first: Any, mode: str) -> list[nn.Module]:
    return [Pooling(first.get_embedding_dimension(), mode), Normalize()]


def cosines(one: Any, other: Any) -> Any:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize("mode", MODES)
def test_embeddings_are_those_of_pytorch(mode: str, saved: Path, exact: Encoder) -> None:
    theirs, ours = of_pytorch(saved, mode), on_engine(exact, mode)
    for batch in (1, 3, 32):
        np.testing.assert_allclose(ours.encode(TEXTS, batch_size=batch), theirs.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(ours.encode(TEXTS[0]), theirs.encode(TEXTS[0]), atol=1e-5)
    assert ours.get_embedding_dimension() == 32
    assert ours.encode([]).shape == (0,)


def test_tokens_pairs_prompts_and_cuts_are_those_of_pytorch(saved: Path, exact: Encoder) -> None:
    theirs, ours = of_pytorch(saved), on_engine(exact)
    for one, other in zip(
        ours.encode(TEXTS, output_value="token_embeddings"),
        theirs.encode(TEXTS, output_value="token_embeddings"),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    pairs = [("the cat", "sat on the mat"), ("a dog", "ran")]
    np.testing.assert_allclose(ours.encode(pairs), theirs.encode(pairs), atol=1e-5)
    for include in (True, False):
        theirs[1].include_prompt = ours[1].include_prompt = include
        expected = theirs.encode(TEXTS[:3], prompt="the sun: ")
        np.testing.assert_allclose(ours.encode(TEXTS[:3], prompt="the sun: "), expected, atol=1e-5)
    theirs.max_seq_length = ours.max_seq_length = 5
    np.testing.assert_allclose(ours.encode(TEXTS), theirs.encode(TEXTS), atol=1e-5)
    ours.max_seq_length = POSITIONS


def test_padding_before_texts_is_as_in_pytorch(saved: Path, exact: Encoder) -> None:
    dense = of_pytorch(saved)[0].auto_model
    ids = torch.randint(5, 60, (3, 7))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1] * 7, [0, 1, 1, 1, 0, 1, 1]])
    with torch.no_grad():
        expected = dense(input_ids=ids, attention_mask=mask).last_hidden_state
    answer = exact({"input_ids": ids, "attention_mask": mask})["token_embeddings"]
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=0)
    whole = exact({"input_ids": ids})["token_embeddings"]  # nothing hidden
    with torch.no_grad():
        torch.testing.assert_close(whole, dense(input_ids=ids).last_hidden_state, atol=1e-5, rtol=0)
    nothing = exact({"input_ids": ids, "attention_mask": torch.zeros_like(ids)})["token_embeddings"]
    assert not nothing.any()


def test_a_text_has_the_same_embedding_whatever_it_is_batched_with(exact: Encoder) -> None:
    together = on_engine(exact).encode(TEXTS)
    assert all(
        np.array_equal(on_engine(exact).encode([text])[0], one) for text, one in zip(TEXTS, together, strict=True)
    )


def test_int8_moves_little_and_is_saved_and_loaded(saved: Path, tmp_path: Path) -> None:
    ours = on_engine(Encoder(saved))
    ours.max_seq_length = 20
    theirs = of_pytorch(saved)
    theirs.max_seq_length = 20
    embeddings = ours.encode(TEXTS)
    assert cosines(embeddings, theirs.encode(TEXTS)).min() > 0.995
    ours.prompts["query"] = "the sun: "
    ours.save(str(tmp_path))
    again = SentenceTransformer(str(tmp_path), device="cpu", trust_remote_code=True, model_kwargs={"threads": 2})
    assert isinstance(again[0], Encoder)
    assert (again[0].runtime.threads, again.max_seq_length) == (2, 20)
    np.testing.assert_array_equal(again.encode(TEXTS), embeddings)
    np.testing.assert_array_equal(again.encode(TEXTS, prompt_name="query"), ours.encode(TEXTS, prompt_name="query"))
    np.testing.assert_array_equal(on_engine(Encoder(tmp_path)).encode(TEXTS), embeddings)  # the directory by itself
    assert not (tmp_path / "model.safetensors").exists()


def test_an_export_keeps_the_model_and_says_how_far_embeddings_moved(saved: Path, tmp_path: Path) -> None:
    model = of_pytorch(saved)
    before, first = model.encode(TEXTS), model[0]
    moved = export_sparbor_model(model, tmp_path / "exact", weights="exact")
    assert moved.least > 1 - 1e-5
    assert model[0] is first
    np.testing.assert_array_equal(model.encode(TEXTS), before)
    again = SentenceTransformer(str(tmp_path / "exact"), device="cpu", trust_remote_code=True)
    np.testing.assert_allclose(again.encode(TEXTS), before, atol=1e-5)
    texts = ["the cat", "a dog sat on the mat"]
    moved = export_sparbor_model(model, tmp_path / "bytes", calibration=texts)
    again = SentenceTransformer(str(tmp_path / "bytes"), device="cpu", trust_remote_code=True)
    found = cosines(again.encode(texts), model.encode(texts))
    assert moved == EmbeddingsMoved(2, pytest.approx(found.mean(), abs=1e-6), pytest.approx(found.min(), abs=1e-6))
    assert str(moved).startswith("embeddings of 2 texts: cosine to those of the PyTorch model ")


def test_a_dendritic_model_within_is_exported_sparse(saved: Path, tmp_path: Path) -> None:
    model = of_pytorch(saved)
    made_sparse(model[0].auto_model, sparsity=0.75)
    expected = model.encode(TEXTS)
    export_sparbor_model(model, tmp_path, weights="exact")
    again = SentenceTransformer(str(tmp_path), device="cpu", trust_remote_code=True)
    np.testing.assert_allclose(again.encode(TEXTS), expected, atol=1e-5)
    sparse = [layer for layer in again[0].runtime.describe() if layer.kind == "sparse"]
    assert len(sparse) == 12
    assert all(layer.density == 0.25 for layer in sparse)


def test_a_models_head_is_left_away(saved: Path, exact: Encoder) -> None:
    model = BertForMaskedLM(config())
    model.bert.load_state_dict(of_pytorch(saved)[0].auto_model.state_dict(), strict=False)  # it has no pooler
    ours = on_engine(Encoder(model.eval(), exact.tokenizer, weights="exact"))
    np.testing.assert_allclose(ours.encode(TEXTS), on_engine(exact).encode(TEXTS), atol=1e-5)


def test_positions_that_a_table_keeps_for_padding_are_none(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = RobertaModel(RobertaConfig(vocab_size=80, max_position_embeddings=20, pad_token_id=1, **sizes))
    assert most_tokens(model, tokenizer(tmp_path)) == 18
    assert most_tokens(nn.Linear(2, 2), tokenizer(tmp_path)) == POSITIONS


def test_a_pickled_model_gives_the_same(exact: Encoder) -> None:
    again = pickle.loads(pickle.dumps(on_engine(exact)))  # as that library hands it to other processes
    np.testing.assert_array_equal(again.encode(TEXTS), on_engine(exact).encode(TEXTS))


# Errors


def test_what_no_encoder_is_made_of(saved: Path, tmp_path: Path) -> None:
    words = tokenizer(tmp_path)
    for arguments, message in (
        ((3,), "model is a int: pass a directory or a model of Hugging Face"),
        ((encoder(),), "tokenizer is missing: pass the model's"),
        ((nn.Linear(4, 4), words), "model is a Linear, whose forward takes no input_ids and attention_mask"),
    ):
        with pytest.raises(ArgumentError, match=message):
            Encoder(*arguments)
    with pytest.raises(StateError, match="nowhere' is no model with its tokenizer"):
        Encoder(tmp_path / "nowhere")
    for tokens in (0, POSITIONS + 1, 2.5, True):
        with pytest.raises(
            ArgumentError, match=rf"max_seq_length={tokens}: .* from 1 to {POSITIONS}, as many tokens as"
        ):
            Encoder(saved, max_seq_length=tokens)  # type: ignore[arg-type]


def test_what_an_encoder_is_not_called_with(exact: Encoder) -> None:
    with pytest.raises(ArgumentError, match="an input is a int: pass texts, or pairs of texts"):
        exact.preprocess([3])
    with pytest.raises(ArgumentError, match=r"processing_kwargs is given, .*: set its max_seq_length"):
        exact.preprocess(["a"], processing_kwargs={"text": {"max_length": 3}})
    long = torch.full((1, POSITIONS + 1), 7)
    with pytest.raises(ArgumentError, match="cannot run with batch 1, sequence 25"):
        exact({"input_ids": long})
    with pytest.raises(ArgumentError, match="80"):
        exact({"input_ids": torch.tensor([[80]])})
    assert exact({"input_ids": long[:, 1:]})["token_embeddings"].isfinite().all()


@pytest.fixture
def damaged(exact: Encoder, tmp_path: Path) -> Path:
    on_engine(exact).save(str(tmp_path / "st"))
    return tmp_path / "st"


def test_damaged_directories(damaged: Path) -> None:
    own = damaged / "sparbor_encoder.json"
    for text, message in (
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"max_seq_length": "9"}', "has max_seq_length '9': it must be from 1 on"),
        ('{"most_tokens": -1}', "has most_tokens -1"),
    ):
        own.write_text(text)
        with pytest.raises(StateError, match=message):
            Encoder.load(str(damaged))
    own.unlink()
    engine = damaged / "engine.safetensors"
    sparbor.deploy(nn.Linear(64, 32), torch.zeros(1, 64)).save(engine)
    with pytest.raises(StateError, match="the model is no encoder of texts, but input float32"):
        Encoder.load(str(damaged))
    engine.write_bytes(engine.read_bytes()[:-1])
    with pytest.raises(ModelFileError):
        Encoder.load(str(damaged))
    engine.unlink()
    with pytest.raises(StateError, match=r"has no engine\.safetensors: save the SentenceTransformer again"):
        Encoder.load(str(damaged))
    with pytest.raises(ArgumentError, match="model_kwargs has dtype: the engine takes threads alone"):
        Encoder.load(str(damaged), model_kwargs={"dtype": "auto"})


def test_small_letters_that_the_tokenizer_does_not_make(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "st")
    (tmp_path / "st" / "sentence_bert_config.json").write_text('{"max_seq_length": 9, "do_lower_case": true}')
    with pytest.raises(ArgumentError, match=r"put in small letters, .*: use export_sparbor_model\("):
        Encoder(tmp_path / "st")


def test_what_is_not_exported(saved: Path, tmp_path: Path, exact: Encoder) -> None:
    model = of_pytorch(saved)
    for wrong, calibration, message in (
        (exact, None, "model is a Encoder: pass a SentenceTransformer"),
        (on_engine(exact), None, "the model's first module is Encoder: it must be sentence-transformers' Transformer"),
        (model, [], "calibration must be a list of texts"),
        (model, [3], "calibration must be a list of texts"),
    ):
        with pytest.raises(ArgumentError, match=message):
            export_sparbor_model(wrong, tmp_path / "out", calibration=calibration)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="weights='int4'"):
        export_sparbor_model(model, tmp_path / "out", weights="int4")
    assert not (tmp_path / "out").exists()


# Pipelines


def test_pipelines_give_what_they_give_with_pytorch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = tokenizer(tmp_path)
    torch.manual_seed(0)
    model = with_large_weights(BertForSequenceClassification(config(num_labels=3))).eval()
    with caplog.at_level(logging.ERROR):
        ours = pipeline("text-classification", model=PipelineModel(model, words, weights="exact"), tokenizer=words)
    assert not caplog.records  # that it is not for such a model
    theirs = pipeline("text-classification", model=model, tokenizer=words)
    texts = [text for text in TEXTS if len(text) < 80]
    for settings in ({}, {"batch_size": 3}, {"top_k": None}):
        for one, other in zip(ours(texts, **settings), theirs(texts, **settings), strict=True):
            scores = [sorted((each["label"], each["score"]) for each in listed(answer)) for answer in (one, other)]
            assert scores[0] == [(label, pytest.approx(score, abs=1e-5)) for label, score in scores[1]]
    assert re.match("TextClassificationPipeline", repr(ours))
    made = PipelineModel(model.bert, words, weights="exact")
    ours = pipeline("feature-extraction", model=made, tokenizer=words)
    theirs = pipeline("feature-extraction", model=model.bert, tokenizer=words)
    np.testing.assert_allclose(ours(texts[0]), theirs(texts[0]), atol=1e-5)
    with pytest.raises(ArgumentError, match="model is a Linear: pass a text encoder or classifier of Hugging Face"):
        PipelineModel(nn.Linear(4, 4), words)


def listed(answer: Any) -> list[Any]:
    return answer if isinstance(answer, list) else [answer]


# The page


def code_of(block: str, page_name: str) -> str:
    page = (Path(__file__).parent.parent / page_name).read_text()
    (code,) = re.findall(rf"^```python {block}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return code.replace("sentence-transformers/all-MiniLM-L6-v2", "tiny")


def test_the_first_embedding_takes_ten_lines(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = code_of("first", "README.md")
    assert code == code_of("first", "docs/serving.md")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    of_pytorch(saved).save(str(tmp_path / "tiny"))
    monkeypatch.chdir(tmp_path)
    shown = dict[str, Any]()
    exec(code, shown)
    assert shown["embeddings"].shape == (2, 32)
    assert json.loads((tmp_path / "sparse-encoder" / "modules.json").read_text())[0]["type"].startswith("sparbor.")


def test_modules_that_are_named_by_hand(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(saved, tmp_path / "sparse-model")
    monkeypatch.chdir(tmp_path)
    exec(code_of("directory", "docs/serving.md"), {})
    assert capsys.readouterr().out == "(2, 32)\n"
