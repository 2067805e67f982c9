"""Hugging Face Accelerate and Trainer train dendritic models as docs/trainers.md says, step for step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EfficientNetConfig,
    EfficientNetForImageClassification,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    T5Config,
    T5Model,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

import sparbor
from sparbor import Growth, Perforator, Recipe, Schedule
from sparbor.lower.call import call_of
from sparbor.lower.permuted_copy import permuted
from sparbor.train.permute_neurons import NOT_YET
from tests.networks import settled
from tests.trainers import (
    ACCUMULATED,
    CLIPPED_AT,
    RECIPE,
    STEPS,
    active_norm,
    assert_finished,
    assert_same_parameters,
    batches,
    code_of,
    net,
    plain_training,
    run,
)

torch.set_num_threads(1)
(ACCELERATE,) = code_of("Hugging Face Accelerate")
TRAINING, RESUMING = code_of("Hugging Face Trainer")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Models


def test_an_efficientnet_with_its_gates_deploys() -> None:
    """Squeeze-and-excitation: the product of planes and a number for each; sparse, and exact in float32."""
    torch.manual_seed(0)
    sizes = {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320, "num_labels": 10}
    network = EfficientNetForImageClassification(EfficientNetConfig(image_size=64, **sizes))
    model = nn.Sequential(network, Logits())
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)  # with weights as the class draws them, answers vanish
    images = torch.randn(2, 3, 64, 64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    sparbor.perforate(model, optimizer, Recipe(sparsity=0.8), total_steps=1)
    model(images).sum().backward()
    optimizer.step()
    wanted = settled(model)(images).detach()
    for weights, limit in (("exact", 1e-5), ("word16", 1.6e-2)):
        runtime = sparbor.deploy(model, images, weights=weights)
        assert "multiply" in {operation.kind for operation in runtime.program.operations}
        assert (runtime(images) - wanted).abs().max() <= limit * wanted.abs().max()


class Logits(nn.Module):
    """What a Hugging Face model's answer holds."""

    def forward(self, answer: ImageClassifierOutputWithNoAttention) -> Tensor:
        return answer.logits


def test_what_is_said_of_a_transformer_is_said_once_and_its_shared_embedding_counts_once() -> None:
    """T5 keeps one embedding in three modules."""
    model = T5Model(T5Config(vocab_size=50, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2))
    perforator = sparbor.perforate(model, torch.optim.Adam(model.parameters()), RECIPE, total_steps=STEPS)
    assert sum(finding.weights for finding in perforator.findings) == sum(p.numel() for p in model.parameters())
    assert str(perforator).splitlines()[-1] == NOT_YET
    ids = torch.zeros(2, 5, dtype=torch.long)
    model(input_ids=ids, decoder_input_ids=ids)
    said = str(perforator).splitlines()
    (embedding,) = (line for line in said if line.startswith("decoder.embed_tokens"))
    assert "its weight is tied: 'shared' (Embedding) and 'encoder.embed_tokens' (Embedding) use it too" in embedding
    assert [line for line in said if "stay in order" in line] == [
        "the neurons of each of 18 layers stay in order: view reads it",
        "the neurons of each of 10 layers stay in order: add reads it together with other values",
    ]
    assert [chain.layer.name for chain in perforator.orders.found] == [
        f"{part}coder.block.{block}.layer.{layer}.DenseReluDense.wi"
        for part, layer in (("en", 1), ("de", 2))
        for block in range(2)
    ]


SMALL: dict[str, Any] = dict(num_hidden_layers=2, hidden_size=32, num_attention_heads=2, intermediate_size=64)
IDS = torch.arange(40).view(4, 10)
IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
FEED_FORWARD = {
    "BERT": (
        lambda: BertForSequenceClassification(BertConfig(vocab_size=50, **SMALL)),
        {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": torch.tensor([0, 1, 0, 1])},
        "bert.encoder.layer.{}.intermediate.dense",
        "bert.encoder.layer.{}.output.dense",
    ),
    "ViT": (
        lambda: ViTForImageClassification(ViTConfig(image_size=16, patch_size=4, **SMALL)),
        {"pixel_values": IMAGES, "labels": torch.tensor([0, 1, 0, 1])},
        "vit.layers.{}.mlp.fc1",
        "vit.layers.{}.mlp.fc2",
    ),
    "GPT-NeoX": (
        lambda: GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=50, **SMALL)),
        {"input_ids": IDS, "labels": IDS},
        "gpt_neox.layers.{}.mlp.dense_h_to_4h",
        "gpt_neox.layers.{}.mlp.dense_4h_to_h",
    ),
}


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_the_hidden_neurons_of_feed_forward_blocks_are_put_in_order(name: str) -> None:
    torch.manual_seed(0)
    build, inputs, hidden, outputs = FEED_FORWARD[name]
    model: Any = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=12)
    for _ in range(12):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = {chain.layer.name: chain for chain in perforator.orders.found}
    for block in range(2):
        chain = found[hidden.format(block)]
        assert [reader.name for reader in chain.readers] == [outputs.format(block)]  # type: ignore[union-attr]
        assert chain.layer.is_permuted()
        assert torch.equal(chain.layer.neuron_order, chain.readers[0].input_order)  # type: ignore[arg-type]


class Scores(nn.Module):
    """What a model for images says of the classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> Any:
        return self.model(x).logits


def test_a_vision_transformer_with_its_neurons_moved_computes_the_same() -> None:
    torch.manual_seed(0)
    model = Scores(FEED_FORWARD["ViT"][0]())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sparbor.perforate(model, optimizer, RECIPE, total_steps=12)
    for _ in range(12):
        model(IMAGES).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = permuted(model.eval(), call_of(model, IMAGES))
    assert moved is not model
    torch.testing.assert_close(moved(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)


# Accelerate


def test_accelerates_page_trains_and_its_state_is_loaded_again(here: Path) -> None:
    page = run(ACCELERATE)
    perforator = page["perforator"]
    assert_finished(perforator, 20, 0.1)
    trained = [parameter.clone() for parameter in page["model"].parameters()]
    x, y = next(iter(page["batches"]))
    F.cross_entropy(page["model"](x), y).backward()
    page["optimizer"].step()
    assert perforator.steps == 21
    page["accelerator"].load_state("accelerate")
    assert perforator.steps == 20
    assert_same_parameters(page["model"].parameters(), trained)


def accelerated(perforate_first: bool) -> tuple[Accelerator, nn.Module, Any, Any, Perforator]:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    if perforate_first:
        perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
        model, optimizer, loader = accelerator.prepare(model, optimizer, batches())
    else:
        model, optimizer, loader = accelerator.prepare(model, optimizer, batches())
        perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    accelerator.register_for_checkpointing(perforator)
    return accelerator, model, optimizer, loader, perforator


def train_an_epoch(accelerator: Accelerator, model: nn.Module, optimizer: Any, loader: Any, perforator: Any) -> Any:
    """The densities after each step."""
    densities = []
    for x, y in loader:
        with accelerator.accumulate(model):
            accelerator.backward(F.cross_entropy(model(x), y))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), CLIPPED_AT)
                assert active_norm(perforator, model) == pytest.approx(CLIPPED_AT, rel=1e-4)
                densities.append(perforator.density())
            optimizer.step()
            optimizer.zero_grad()
    return densities


@pytest.mark.parametrize("perforate_first", [True, False])
def test_accelerate_trains_and_resumes_as_a_plain_loop_does(perforate_first: bool, tmp_path: Path) -> None:
    plain, _, densities = plain_training()
    first = accelerated(perforate_first)
    before_steps = train_an_epoch(*first)
    first[0].save_state(str(tmp_path / "half"))
    second = accelerated(perforate_first)
    second[0].load_state(str(tmp_path / "half"))
    assert second[-1].steps == STEPS / 2
    before_steps += train_an_epoch(*second)
    assert before_steps == [1.0, *densities[:-1]]
    assert_finished(second[-1], STEPS, 0.2)
    assert_same_parameters(second[1].parameters(), plain.parameters())


class Hollow(torch.optim.Optimizer):
    """A wrapper that torch has never set up, around nothing that is an optimizer."""

    def __init__(self) -> None:
        self.optimizer = "none"


def test_a_wrapper_that_takes_no_hooks_is_refused_before_anything_is_touched() -> None:
    model = net()
    with pytest.raises(sparbor.SparborError, match=r"^optimizer is a Hollow that takes no hooks: pass the torch.optim"):
        sparbor.perforate(model, Hollow(), RECIPE, total_steps=STEPS)
    assert type(model[0]) is nn.Linear


# Trainer


class Watch(TrainerCallback):
    """Notes the norm of active weights' gradients with which each step is made, and checks the count of steps."""

    def __init__(self, perforator: Perforator) -> None:
        self.perforator = perforator
        self.norms: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.norms.append(active_norm(self.perforator, given["model"]))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        assert self.perforator.steps == state.global_step


def test_the_trainers_page_trains_and_goes_on(here: Path) -> None:
    page = run(TRAINING)
    assert page["trainer"].state.global_step == 20
    assert_finished(page["perforator"], 20, 0.1)
    assert (page["arguments"].max_grad_norm, page["arguments"].gradient_accumulation_steps) == (1.0, 2)
    trained = [parameter.clone() for parameter in page["model"].parameters()]

    with pytest.MonkeyPatch.context() as patch:  # "make all of this anew"
        patch.setattr(page["Trainer"], "train", lambda *_: None)
        again = run(TRAINING)
    watch = Watch(again["perforator"])
    again["trainer"].add_callback(watch)
    run(RESUMING, again)
    assert_finished(again["perforator"], 20, 0.1)
    assert len(watch.norms) == 10
    assert_same_parameters(again["model"].parameters(), trained)


def test_the_trainer_clips_the_active_weights_and_tells_of_scores(here: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.Trainer.train", lambda *_: None)
        page = run(TRAINING)
    growth = Growth(patience=1, trial=2, minimum_gain=100.0)  # no loss falls by more than that
    recipe = Recipe(
        sparsity=0.8,
        schedule=Schedule(warmup=0.1, ramp_end=0.2, interval=3),
        growth=growth,
        exclude=("classifier", "bert.pooler.*"),
    )
    model = page["BertForSequenceClassification"](page["model"].config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=60)
    arguments = TrainingArguments(
        "growing", per_device_train_batch_size=8, max_steps=60, max_grad_norm=0.01, eval_strategy="steps",
        eval_steps=10, save_strategy="no", use_cpu=True, report_to="none",
    )  # fmt: skip
    watch = Watch(perforator)
    trainer = page["Trainer"](
        model,
        arguments,
        train_dataset=page["data"],
        eval_dataset=page["data"][:40],
        optimizers=(optimizer, None),
        callbacks=[page["Perforating"](perforator), watch],
    )
    trainer.train()
    assert watch.norms == pytest.approx([0.01] * 60, rel=1e-3)
    events = [(event.what, event.step) for event in perforator.growth_events]
    assert events == [("grown", 31), ("rolled back", 50)], "a score after every 10 steps, from 20 on"
    assert_finished(perforator, 60, 0.2)
