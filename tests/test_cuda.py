"""On CUDA training runs the same code with dense masked kernels: correct, and no faster."""

import pytest
import torch
from torch.nn import functional as F

import sparbor
from sparbor import Recipe
from tests.scaled_training import RECIPE, STEPS, TOLERANCE, adamw, alone, batch, convolutional, network

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_training_on_cuda_equals_training_on_the_cpu(method: str) -> None:
    recipe = Recipe(sparsity=0.8, schedule=RECIPE.schedule, method=method)  # type: ignore[arg-type]
    model = network(convolutional).cuda()
    optimizer = adamw(model)
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    for number in range(STEPS):
        x, y = (values.cuda() for values in batch(number))
        F.cross_entropy(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for layer in perforator.modules.values():
            assert not layer.weight[~layer.mask].any()
    for name, expected in alone(convolutional, adamw, recipe).items():
        value = model.state_dict()[name]
        assert value.is_cuda
        torch.testing.assert_close(value.cpu(), expected, **(TOLERANCE if value.is_floating_point() else {}))


def test_half_precision_with_a_gradient_scaler_keeps_dropped_weights_at_zero() -> None:
    model = network(convolutional).float().cuda()
    optimizer = adamw(model)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    scaler = torch.amp.GradScaler("cuda")
    for number in range(2 * STEPS):  # the first steps may be skipped
        x, y = (values.cuda() for values in batch(number))
        with torch.autocast("cuda", dtype=torch.float16):
            loss = F.cross_entropy(model(x.float()), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert perforator.steps >= STEPS
    assert perforator.density() == pytest.approx(0.2, abs=0.02)
    for layer in perforator.modules.values():
        assert not layer.weight[~layer.mask].any()
