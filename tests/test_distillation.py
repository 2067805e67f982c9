"""Learning from a teacher: the loss against PyTorch's own, what is refused, and Hugging Face's Trainer with it."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import sparbor
from sparbor import PerforatingCallback, Recipe, Schedule, distillation_loss
from sparbor.errors import ArgumentError, StateError
from sparbor.train import trainer_callback
from tests.trainers import assert_finished, assert_same_parameters, run

torch.set_num_threads(1)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "fine-tuning.md"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_logits_by_the_formula(temperature: float) -> None:
    student, teacher = numbers(6, 5).requires_grad_(), numbers(6, 5, seed=1).requires_grad_()
    loss = distillation_loss(student, teacher, temperature=temperature)
    p, q = (logits / temperature for logits in (teacher, student))
    wanted = (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1).mean() * temperature**2
    torch.testing.assert_close(loss, wanted)
    loss.backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert teacher.grad is None


def test_labels_have_their_part() -> None:
    student, teacher, labels = numbers(6, 5), numbers(6, 5, seed=1), torch.tensor([0, 1, 2, 3, 4, -100])
    loss = distillation_loss(student, teacher, labels=labels, weight=0.25)
    soft, hard = distillation_loss(student[:5], teacher[:5]), F.cross_entropy(student, labels)
    torch.testing.assert_close(loss, 0.25 * soft + 0.75 * hard)
    torch.testing.assert_close(distillation_loss(student, teacher, labels=labels, weight=0.0), hard)


def test_tokens_under_a_mask_count_alone() -> None:
    student, teacher = numbers(2, 4, 5), numbers(2, 4, 5, seed=1)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    chosen = mask.bool()
    torch.testing.assert_close(
        distillation_loss(student, teacher, mask=mask), distillation_loss(student[chosen], teacher[chosen])
    )
    torch.testing.assert_close(
        distillation_loss([student], [teacher], mask=mask), F.mse_loss(student[chosen], teacher[chosen])
    )
    assert distillation_loss(student, teacher, mask=0 * mask) == 0


def test_hidden_states() -> None:
    ours, theirs = [numbers(2, 4, 8), numbers(2, 4, 6)], [numbers(2, 4, 8, seed=1), numbers(2, 4, 6, seed=1)]
    mse = (F.mse_loss(ours[0], theirs[0]) + F.mse_loss(ours[1], theirs[1])) / 2
    torch.testing.assert_close(distillation_loss(ours, theirs), mse)
    apart = [1 - F.cosine_similarity(a, b, dim=-1).mean() for a, b in zip(ours, theirs, strict=True)]
    torch.testing.assert_close(distillation_loss(tuple(ours), theirs, hidden="cosine"), sum(apart) / 2)
    assert distillation_loss(ours, ours, hidden="cosine") < 1e-6


def bert() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=4, **SIZES))


def test_answers_of_hugging_face_models() -> None:
    student, teacher = bert().eval(), bert().eval()
    with torch.no_grad():
        teacher.classifier.weight.mul_(3)
        teacher.bert.encoder.layer[0].output.dense.weight.mul_(3)
    ids = torch.randint(50, (3, 7))
    mask = (torch.arange(7) < torch.tensor([[7], [4], [2]])).long()
    answers = [model(input_ids=ids, attention_mask=mask, output_hidden_states=True) for model in (student, teacher)]
    logits = distillation_loss(answers[0].logits, answers[1].logits)
    hidden = distillation_loss(answers[0].hidden_states, answers[1].hidden_states, mask=mask)
    torch.testing.assert_close(distillation_loss(*answers, mask=mask), logits)
    torch.testing.assert_close(distillation_loss(*answers, hidden="mse", mask=mask), logits + hidden)
    encodings = [model.bert(input_ids=ids, output_hidden_states=True) for model in (student, teacher)]
    assert distillation_loss(*encodings) > 0, "an encoder has no logits: its hidden states are compared"


@pytest.mark.parametrize(
    ("student", "teacher", "options", "text"),
    [
        ((2, 5), (2, 4), {}, r"logits: the student's has shape \(2, 5\), the teacher's \(2, 4\)"),
        ((2, 1), (2, 1), {}, r"logits of shape \(2, 1\): must have two classes at least"),
        ((), (), {}, r"logits of shape \(\): must have two classes"),
        ((2, 5), [(2, 5)], {}, r"the teacher's answer has no logits and the other's has"),
        ((2, 5), "words", {}, r"teacher is a str: must be a tensor of logits, a list"),
        ((2, 5), (2, 5), {"labels": torch.zeros(3, dtype=torch.long)}, r"labels of shape \(3,\).*need \(2,\)"),
        ((2, 5), (2, 5), {"labels": torch.tensor([0, 5])}, r"labels hold 5: logits of 5 classes take 0 to 4, and -100"),
        ((2, 5), (2, 5), {"labels": torch.tensor([-1, 0])}, r"labels hold -1"),
        ((2, 5), (2, 5), {"labels": torch.zeros(2)}, r"labels are torch.float32: must be the numbers of classes"),
        ((2, 5), (2, 5), {"temperature": 0}, r"temperature=0: must be a number above 0"),
        ((2, 5), (2, 5), {"weight": 1.5}, r"weight=1\.5: must lie between 0 and 1"),
        ((2, 5), (2, 5), {"hidden": "l1"}, r"hidden='l1': must be one of 'mse', 'cosine', or None"),
        ((2, 5), (2, 5), {"hidden": "mse"}, r"the student's answer has no hidden states: call a Hugging Face model"),
        ((2, 3, 5), (2, 3, 5), {"mask": torch.ones(2, 4)}, r"mask of shape \(2, 4\): must have \(2, 3\)"),
        ([(2, 5)], [(2, 5), (2, 5)], {}, r"1 hidden states and the teacher 2: pass lists of those"),
        ([(2, 5)], [(2, 6)], {}, r"hidden state 0: the student's has shape \(2, 5\), the teacher's \(2, 6\)"),
        ([(2, 5)], [(2, 5)], {"labels": torch.zeros(2)}, r"labels are given with hidden states alone"),
    ],
)
def test_a_teacher_with_other_outputs(student: Any, teacher: Any, options: dict[str, Any], text: str) -> None:
    def made(shape: Any) -> Any:
        return [made(each) for each in shape] if isinstance(shape, list) else numbers(*shape)

    with pytest.raises(ArgumentError, match=text):
        distillation_loss(made(student), teacher if teacher == "words" else made(teacher), **options)


# Hugging Face's Trainer.


def data() -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(2)
    return [{"input_ids": torch.randint(50, (12,), generator=random), "labels": n % 4} for n in range(160)]


def trained(folder: Path, steps: int | None = None, storage: Any = "masked", **options: Any) -> Trainer:
    """A Trainer that has trained for two epochs, or that is told to stop after so many steps, or only made."""
    model = bert()
    recipe = Recipe.fine_tuning(0.8, exclude=("classifier",), schedule=Schedule(0.1, 0.75, 0.75, interval=2))
    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=8, gradient_accumulation_steps=2, num_train_epochs=2, warmup_steps=2,
        learning_rate=1e-3, save_steps=10, use_cpu=True, report_to="none", disable_tqdm=True, **options,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=data(), callbacks=[PerforatingCallback(recipe, storage=storage)])


def callback_of(trainer: Trainer) -> PerforatingCallback:
    (found,) = (each for each in trainer.callback_handler.callbacks if isinstance(each, PerforatingCallback))
    return found


@pytest.mark.parametrize("storage", ["masked", "compact"])
def test_the_callback_perforates_counts_and_resumes(storage: Any, tmp_path: Path) -> None:
    trainer = trained(tmp_path, storage=storage)
    trainer.train()
    perforator = callback_of(trainer).perforator
    assert perforator is not None
    assert (trainer.state.global_step, perforator.total_steps) == (20, 20)
    assert_finished(perforator, 20, 0.2)
    again = trained(tmp_path, storage=storage)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
    assert_finished(callback_of(again).perforator, 20, 0.2)  # type: ignore[arg-type]
    assert_same_parameters(again.model.parameters(), trainer.model.parameters())


def test_a_checkpoint_without_the_runs_state_is_refused(tmp_path: Path) -> None:
    trained(tmp_path).train()
    (tmp_path / "checkpoint-10" / "perforator.pt").unlink()
    with pytest.raises(StateError, match=r"perforator\.pt is not there: training can be resumed from checkpoints"):
        trained(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))


def test_the_code_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    torch.manual_seed(0)
    code = PAGE.read_text().split("```python\n")[1:]
    for block in code:
        run(block.split("```")[0], names)
    assert isinstance(names["trainer"], Trainer)
    perforator = callback_of(names["trainer"]).perforator
    assert perforator is not None
    assert_finished(perforator, 20, 0.2)


def test_the_teacher_is_learnt_from() -> None:
    """A student that sees no labels comes to answer as the teacher does."""
    torch.manual_seed(0)
    teacher, student = nn.Linear(16, 4), nn.Linear(16, 4)
    optimizer = torch.optim.Adam(student.parameters(), 0.05)
    sparbor.perforate(nn.Sequential(student), optimizer, Recipe.fine_tuning(0.25), total_steps=100)
    x = numbers(64, 16)
    losses = []
    for _ in range(100):
        loss = distillation_loss(student(x), teacher(x))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10


def test_a_checkpoint_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"has no model\*.safetensors"):
        trainer_callback._weights(tmp_path)
