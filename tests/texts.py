"""A tiny encoder of texts with its tokenizer, sparse by hand, and texts for it."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizerFast

from sparbor import PAINeuronModule, Quads
from sparbor.nn.named_layers import replace_part

WORDS = ["a", "the", "cat", "dog", "sat", "ran", "on", "mat", "rain", "sun", "and", "very"]
POSITIONS = 24
# Short and long, none at all, of unknown letters, longer than the model's positions.
TEXTS = [
    "the cat sat",
    "",
    "a dog and a cat ran on the mat and the sun sat on the rain",
    "café ☕ 日本",
    "very " * 40,
    "sun",
]


def tokenizer(folder: Path) -> Any:
    """Of those words, and single letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters[1:], *(f"##{each}" for each in letters)]
    (folder / "vocab.txt").write_text("\n".join(tokens))
    return BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=POSITIONS)


def config(**more: Any) -> BertConfig:
    """Of two layers of 32 features."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertConfig(vocab_size=80, max_position_embeddings=POSITIONS, **sizes, **more)


def encoder() -> nn.Module:
    """Dense, with weights that make a difference."""
    torch.manual_seed(0)
    return with_large_weights(BertModel(config())).eval()


def with_large_weights(model: nn.Module) -> nn.Module:
    """As they are made, weights are so small that texts hardly differ."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "encoder" in name:
                parameter.normal_(std=0.2)
    return model


def made_sparse(model: nn.Module, sparsity: float = 0.5) -> nn.Module:
    """Its encoder's linear layers keep their largest weights, in quads."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and "encoder" in name:
            module = PAINeuronModule(layer, name, sparsity=sparsity, pattern=Quads())
            module.set_mode("d")
            replace_part(model, name, module)
    return model
