"""Classify short texts with a sparse sentence encoder: from a pre-trained model to a file that answers in microseconds.

    python examples/sentence_encoder.py MODEL TRAINING.tsv TEST.tsv

MODEL is a folder of Hugging Face's such as all-MiniLM-L6-v2's. Each line of the files is a class, a tabulator and a text.
The encoder is fine-tuned dense, becomes the teacher of a copy that is 90 % sparse in the end, and that is deployed.
"""

import argparse
import copy
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer

import sparbor
from sparbor.timing import sample, summarize


class Classifier(nn.Module):
    """The mean over a text's tokens, and from it a score for each class."""

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, classes)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        seen = attention_mask.unsqueeze(-1).to(tokens.dtype)
        return self.head((tokens * seen).sum(1) / seen.sum(1))


def read(file: str) -> tuple[list[str], list[str]]:
    """Classes and texts, line by line."""
    lines = [line.split("\t", 1) for line in Path(file).read_text(encoding="utf-8").splitlines()]
    return [name for name, _ in lines], [text for _, text in lines]
