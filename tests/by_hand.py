"""What the heads compute, written out with numpy in double precision, one image at a time."""

from __future__ import annotations

import numpy as np

from dcsh_pg.learning.heads import KernelHead, MLPHead, TopicHead


def z_of(head: MLPHead | KernelHead | TopicHead, features: np.ndarray) -> np.ndarray:
    """z, float64 (N, bits), of features (N, dim)."""
    by_kind = {"mlp": _mlp, "kernel": _kernel, "topics": _topics}
    return np.array([by_kind[head.KIND](head, row) for row in features.astype(np.float64)])


def fold_in(counts: np.ndarray, words: np.ndarray, steps: int) -> np.ndarray:
    """Shares of topics in one document by EM with P(w|z) fixed, both steps as loops.

    Args:
        counts: n(w), (words,).
        words: P(w|z), (topics, words).
    """
    topics = len(words)
    share = np.full(topics, 1 / topics)
    for _ in range(steps):
        gained = np.zeros(topics)
        for w, count in enumerate(counts):
            posterior = share * words[:, w] / (share @ words[:, w])  # P(z|w)
            gained += count * posterior
        share = gained / gained.sum()
    return share


def _mlp(head: MLPHead, x: np.ndarray) -> np.ndarray:
    (linear,) = head.layers
    if head.l2_normalize:
        x = x / np.linalg.norm(x)
    return _double(linear.weight) @ x + _double(linear.bias)


def _kernel(head: KernelHead, x: np.ndarray) -> np.ndarray:
    if head.l2_normalize:
        x = x / np.linalg.norm(x)
    row = [
        np.exp(-np.sum((x - a) ** 2) / (2 * head.sigma.item() ** 2)) for a in _double(head.points)
    ]
    return _double(head.linear.weight) @ (row - _double(head.centre)) + _double(head.linear.bias)


def _topics(head: TopicHead, x: np.ndarray) -> np.ndarray:
    shares = [fold_in(np.maximum(x, 0), words, head.steps) for words in _double(head.words)]
    return np.concatenate(shares) - _double(head.thresholds)


def _double(tensor) -> np.ndarray:
    return tensor.detach().double().numpy()
