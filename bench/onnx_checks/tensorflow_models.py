"""ONNX files of Keras's networks by tf2onnx, in an environment of their own: ``python tensorflow_models.py FOLDER``.

That environment has tensorflow-cpu and tf2onnx, and need not have Sparbor. Of each matrix and kernel with more than a
thousand numbers the smallest 80 % are dropped, so that there is something to pack, and the others made larger.
`bench/onnx_files.py --files` checks what is written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf2onnx

PRUNED, LEAST = 0.8, 1000


def main() -> None:
    """Write a file for each network."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in networks().items():
        prune(model)
        signature = [tf.TensorSpec(each.shape, each.dtype, name=each.name) for each in model.inputs]
        called = tf.function(lambda x, model=model: model(x, training=False), input_signature=signature)
        file = folder / f"tf2onnx-{name}.onnx"
        tf2onnx.convert.from_function(called, signature, opset=18, output_path=str(file))


def prune(model: Any) -> None:
    """Drop the smallest weights."""
    kept = []
    for weights in model.get_weights():
        if weights.ndim > 1 and weights.size > LEAST:
            dropped = np.abs(weights) < np.quantile(np.abs(weights), PRUNED)
            weights *= np.linalg.norm(weights) / np.linalg.norm(
                weights[~dropped]
            )  # or signals die out in deep networks
            weights[dropped] = 0
        kept.append(weights)
    model.set_weights(kept)


def networks() -> dict[str, Any]:
    """Networks as Keras's users write them, and some of its applications, with random weights."""
    layers, keras = tf.keras.layers, tf.keras
    image = {"weights": None, "input_shape": (64, 64, 3), "classes": 10, "classifier_activation": None}
    text = keras.Input((16,), dtype="int32", name="tokens")
    series = keras.Input((16, 8), name="series")
    return {
        "mlp": keras.Sequential([keras.Input((64,)), layers.Dense(256, "relu"), layers.Dense(10, "softmax")]),
        "cnn": keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 3, padding="same"),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(10),
            ]
        ),
        "text-cnn": keras.Model(text, _text_cnn(layers, text)),
        "lstm": keras.Model(series, layers.Dense(4)(layers.LSTM(64)(series))),
        "gru": keras.Model(series, layers.Dense(4)(layers.GRU(64, return_sequences=True)(series))),
        "attention": keras.Model(text, _attention(layers, text)),
        "resnet50": keras.applications.ResNet50(**image),
        "mobilenet-v2": keras.applications.MobileNetV2(**image),
        "efficientnet-b0": keras.applications.EfficientNetB0(**image),
        "densenet121": keras.applications.DenseNet121(**image),
    }


def _text_cnn(layers: Any, text: Any) -> Any:
    words = layers.Embedding(200, 64)(text)
    return layers.Dense(4)(layers.GlobalMaxPooling1D()(layers.Conv1D(64, 3, activation="relu")(words)))


def _attention(layers: Any, text: Any) -> Any:
    words = layers.Embedding(200, 64)(text)
    words = layers.LayerNormalization()(words + layers.MultiHeadAttention(4, 16)(words, words))
    words = layers.LayerNormalization()(words + layers.Dense(64)(layers.Dense(256, _gelu)(words)))
    return layers.Dense(4)(layers.GlobalAveragePooling1D()(words))


def _gelu(x: Any) -> Any:
    return tf.keras.activations.gelu(x, approximate=True)  # of the other tf2onnx makes an operator that ONNX has not


if __name__ == "__main__":
    main()
