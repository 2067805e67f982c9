"""Classify texts with a sparse sentence encoder: from a pre-trained model to a file that answers in microseconds.

    python examples/sentence_encoder.py MODEL TRAINING.tsv TEST.tsv

MODEL is a folder of Hugging Face's, such as all-MiniLM-L6-v2's. Each line of the files is a class, a tabulator, a text.
The encoder is fine-tuned dense, and becomes the teacher of a copy that gets 90 % sparse and is deployed.
"""

import argparse
import copy
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer

import sparbor
from sparbor.timing import sample, summarize

OUT = "sentences.safetensors"
EPOCHS = 5
STATES = 300  # how much a teacher's hidden states count: their squared differences are small, 0.01 or less


class Classifier(nn.Module):
    """The mean over a text's tokens, and from it a score for each class."""

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.config.hidden_size, classes)

    def forward(self, input_ids, attention_mask, token_type_ids=None, states: bool = False):
        found = self.encoder(input_ids, attention_mask, token_type_ids, output_hidden_states=states)
        seen = attention_mask.unsqueeze(-1).to(found.last_hidden_state.dtype)
        scores = self.head((found.last_hidden_state * seen).sum(1) / seen.sum(1))
        return (scores, found.hidden_states[1:]) if states else scores


def batched(lines: list, size: int, classes: list, tokenizer) -> list:
    """Tokens of so many texts each, and the numbers of their classes."""
    groups = [list(zip(*lines[at : at + size], strict=True)) for at in range(0, len(lines), size)]
    how = {"padding": True, "truncation": True, "max_length": 64, "return_tensors": "pt"}
    return [(tokenizer(texts, **how), torch.tensor([*map(classes.index, names)])) for names, texts in groups]


def train(model: nn.Module, batches: list, lr: float, recipe=None, teacher=None) -> nn.Module:
    optimizer, steps = torch.optim.AdamW(model.parameters(), lr, fused=True), EPOCHS * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    if recipe:
        print(sparbor.perforate(model, optimizer, recipe, total_steps=steps))
    model.train()
    for texts, labels in EPOCHS * batches:
        scores, states = model(**texts, states=True)
        loss = nn.functional.cross_entropy(scores, labels)
        if teacher:
            with torch.no_grad():
                wanted, their_states = teacher(**texts, states=True)
            far = sparbor.distillation_loss(states, their_states, hidden="mse", mask=texts["attention_mask"])
            loss = sparbor.distillation_loss(scores, wanted, temperature=2.0) + STATES * far
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="MODEL", help="a folder of Hugging Face's")
    parser.add_argument("training", metavar="TRAINING", type=Path, help="lines of texts with their classes")
    parser.add_argument("test", metavar="TEST", type=Path, help="such lines, which no model is trained on")
    options = parser.parse_args()
    torch.manual_seed(0)
    parts = options.training, options.test
    lines, test_lines = ([line.split("\t", 1) for line in part.read_text().splitlines()] for part in parts)
    given = sorted({name for name, _ in lines}), AutoTokenizer.from_pretrained(options.folder)
    batches, single = batched(lines, 32, *given), batched(test_lines, 1, *given)

    dense = train(Classifier(AutoModel.from_pretrained(options.folder), len(given[0])), batches, 3e-4)
    recipe = sparbor.Recipe.fine_tuning(0.9, pattern=sparbor.Quads(), exclude=("encoder.embeddings*", "head"))
    sparse = train(copy.deepcopy(dense), batches, 6e-4, recipe, dense)

    runtime = sparbor.deploy(sparse, dict(single[0][0]), weights="int8")
    runtime.save(OUT)

    for name, model in ("dense, PyTorch", dense), (f"90 % sparse, {OUT}", runtime):
        with torch.inference_mode():
            right = [int(model(**texts).argmax()) == int(labels) for texts, labels in single]
            latency = summarize(sample(lambda: model(**single[0][0]), 50))  # noqa: B023
        print(f"{name}: accuracy {sum(right) / len(right):.2%}, {latency.median_us:.0f} us a text")


if __name__ == "__main__":
    main()
