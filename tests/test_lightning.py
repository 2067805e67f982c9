"""PyTorch Lightning trains dendritic models as docs/trainers.md says: as a plain loop would, step for step."""

import logging
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from torch import nn

import sparbor
from sparbor import Growth, Recipe, Schedule
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
TRAINING, GROWING = code_of("PyTorch Lightning")
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


pytestmark = pytest.mark.filterwarnings("ignore:.*(tensorboardX|logging interval|isinstance)")  # Lightning's own


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names of the page's code after it has run."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("lightning"))
        return run(GROWING, run(TRAINING))


def classifier(page: dict[str, Any]) -> Any:
    """The page's, with the network that is always the same."""
    torch.manual_seed(0)
    model = page["Classifier"](RECIPE, total_steps=STEPS)
    assert_same_parameters(model.net.parameters(), net().parameters())
    return model


class Watch(lightning.Callback):
    """Notes the density after each optimizer step, and checks the count of steps."""

    def __init__(self) -> None:
        self.densities: list[float] = []

    def on_train_batch_end(self, trainer: Any, model: Any, *_: Any) -> None:
        assert model.perforator.steps == trainer.global_step
        if trainer.global_step > len(self.densities):
            self.densities.append(model.perforator.density())


def test_the_page_trains(page: dict[str, Any]) -> None:
    assert page["trainer"].global_step == 20
    assert_finished(page["model"].perforator, 20, 0.1)


def test_it_trains_as_a_plain_loop_does(page: dict[str, Any]) -> None:
    """Accumulated gradients, clipped to the norm of active weights, the same densities, masks and weights."""
    plain, _, densities = plain_training()
    model = classifier(page)
    norms = []
    clip = model.configure_gradient_clipping

    def watched(*args: Any, **kwargs: Any) -> None:
        clip(*args, **kwargs)
        norms.append(active_norm(model.perforator, model))

    model.configure_gradient_clipping = watched
    watch = Watch()
    trainer = lightning.Trainer(
        max_epochs=2, accumulate_grad_batches=ACCUMULATED, gradient_clip_val=CLIPPED_AT, callbacks=[watch], **QUIET
    )
    trainer.fit(model, batches())
    assert trainer.global_step == STEPS
    assert norms == pytest.approx([CLIPPED_AT] * STEPS, rel=1e-4)
    assert_finished(model.perforator, STEPS, 0.2)
    assert densities[0] == 1
    assert watch.densities == densities
    assert_same_parameters(model.net.parameters(), plain.parameters())


def test_a_checkpoint_of_lightnings_goes_on(page: dict[str, Any], tmp_path: Path) -> None:
    options = {"accumulate_grad_batches": ACCUMULATED, "gradient_clip_val": CLIPPED_AT, **QUIET}
    plain, _, _ = plain_training()
    first = lightning.Trainer(max_epochs=1, **options)
    first.fit(classifier(page), batches())
    first.save_checkpoint(tmp_path / "half.ckpt")
    model = classifier(page)
    trainer = lightning.Trainer(max_epochs=2, **options)
    trainer.fit(model, batches(), ckpt_path=tmp_path / "half.ckpt")
    assert trainer.global_step == STEPS
    assert_finished(model.perforator, STEPS, 0.2)
    assert_same_parameters(model.net.parameters(), plain.parameters())

    loaded = page["Classifier"].load_from_checkpoint(tmp_path / "half.ckpt", recipe=RECIPE, total_steps=STEPS)
    assert loaded.perforator.steps == STEPS / 2


class PerforatedLate(lightning.LightningModule):
    """Perforated when training starts, by the optimizer that Lightning has wrapped; steps by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.net.parameters(), lr=1e-2)

    def on_train_start(self) -> None:
        self.perforator = sparbor.perforate(self.net, self.optimizers(), RECIPE, total_steps=STEPS)  # type: ignore[arg-type]

    def training_step(self, batch: Any, index: int) -> None:
        x, y = batch
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(nn.functional.cross_entropy(self.net(x), y))
        optimizer.step()  # type: ignore[union-attr]


def test_an_optimizer_that_lightning_has_wrapped() -> None:
    model = PerforatedLate()
    lightning.Trainer(max_epochs=1, **QUIET).fit(model, batches())
    assert_finished(model.perforator, STEPS, 0.2)


def test_dendrites_grow_on_plateaus_that_lightning_tells_of(page: dict[str, Any]) -> None:
    growth = Growth(patience=1, trial=2, minimum_gain=1.0)  # no accuracy rises by more than that
    recipe = Recipe(sparsity=0.8, schedule=Schedule(warmup=0.1, ramp_end=0.2, interval=3), growth=growth)
    model = page["GrowingClassifier"](recipe, total_steps=6 * 20)
    trainer = lightning.Trainer(max_epochs=6, num_sanity_val_steps=1, **QUIET)
    trainer.fit(model, batches(), batches())
    events = [(event.what, event.step) for event in model.perforator.growth_events]
    assert events == [("grown", 61), ("rolled back", 100)], "a score after every 20 steps, from 40 on"
