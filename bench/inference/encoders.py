"""Transformers as they are used: a sentence encoder of the shape of all-MiniLM-L6-v2, and ViT-tiny; random weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SentenceEncoder(nn.Module):
    """Tokens → a vector of length 1: BERT's, averaged over what is no padding."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        self.bert = BertModel(BertConfig(**sizes), add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        seen = attention_mask.unsqueeze(-1).to(states.dtype)
        return F.normalize((states * seen).sum(1) / seen.sum(1).clamp(min=1e-9), dim=-1)


class ImageClassifier(nn.Module):
    """An image → a score for each of 1000 classes, by a ViT."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__()
        from transformers import ViTConfig, ViTForImageClassification

        self.vit = ViTForImageClassification(ViTConfig(**sizes))

    def forward(self, pixel_values: Tensor) -> Tensor:
        scores: Tensor = self.vit(pixel_values).logits
        return scores


def minilm() -> SentenceEncoder:
    """Of the shape of all-MiniLM-L6-v2."""
    return SentenceEncoder(
        vocab_size=30522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
    )


def tiny() -> SentenceEncoder:
    """Of a size for tests."""
    return SentenceEncoder(
        vocab_size=30522, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=96
    )


def vit_tiny() -> ImageClassifier:
    """Of the shape of timm's vit_tiny_patch16_224."""
    return ImageClassifier(
        hidden_size=192,
        num_hidden_layers=12,
        num_attention_heads=3,
        intermediate_size=768,
        image_size=224,
        num_labels=1000,
    )


def tokens(length: int, texts: int = 1) -> tuple[Tensor, Tensor]:
    """Texts of so many tokens each, without padding."""
    random = torch.Generator().manual_seed(1)
    size = texts, length
    return torch.randint(5, 30522, size, generator=random), torch.ones(size, dtype=torch.int64)
