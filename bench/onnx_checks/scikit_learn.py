"""ONNX files of scikit-learn's estimators, by skl2onnx: ``python bench/onnx_checks/scikit_learn.py FOLDER``.

`bench/onnx_files.py --files` checks what is written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, CLASSES, ITEMS = 64, 4, 600
PRUNED = 0.8  # of the weights of multi-layer perceptrons, which scikit-learn trains dense


def write(folder: Path) -> list[Path]:
    """A file for each estimator, fitted to random numbers."""
    from skl2onnx import to_onnx

    folder.mkdir(parents=True, exist_ok=True)
    x, classes = _data()
    files = []
    for name, make in _pipelines().items():
        pipeline = make()
        classifies = hasattr(pipeline[-1], "predict_proba")
        pipeline.fit(x, classes if classifies else x[:, 0])
        _prune(pipeline[-1])
        files.append(folder / f"skl2onnx-{name}.onnx")
        options = {"zipmap": False} if classifies else None
        files[-1].write_bytes(to_onnx(pipeline, x[:1], options=options).SerializeToString())
    return files


def _data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.standard_normal((ITEMS, FEATURES)).astype(np.float32)
    return x, (x @ random.standard_normal((FEATURES, CLASSES))).argmax(1)


def _prune(estimator: Any) -> None:
    """Drop the smallest weights of each hidden layer of a perceptron."""
    for weights in getattr(estimator, "coefs_", [])[:-1]:
        weights[np.abs(weights) < np.quantile(np.abs(weights), PRUNED)] = 0


def _pipelines() -> dict[str, Callable[[], Any]]:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

    sizes = {"hidden_layer_sizes": (128, 128), "max_iter": 5, "random_state": 0}
    return {
        "mlp-classifier": lambda: make_pipeline(StandardScaler(), MLPClassifier(**sizes)),
        "mlp-classifier-logistic": lambda: make_pipeline(MinMaxScaler(), MLPClassifier(activation="logistic", **sizes)),
        "mlp-regressor-tanh": lambda: make_pipeline(StandardScaler(), MLPRegressor(activation="tanh", **sizes)),
        "logistic-regression": lambda: make_pipeline(PCA(16), LogisticRegression()),
        "linear-regression": lambda: make_pipeline(Normalizer(), LinearRegression()),
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]))
