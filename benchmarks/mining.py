"""Processor time and memory of mining neighbours among many images, and how many are the exact ones.

    python benchmarks/mining.py --images 100000

Mines neighbours as DCSH does, by walks over the graph of nearest images, among made features of groups
of about 50 images on a surface of 32 dimensions, in 512.  Prints a Markdown table: processor seconds,
their estimate for a million images (the search grows as N^1.5 with cells of N^0.5 images, the walks
as N), the largest memory, and the share of the exact nearest images, of 500, that are found.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch

from dcsh_pg.learning.data import large_neighbours
from dcsh_pg.learning.data.neighbours import EXACT, diffused, nearest

CHECKED = 500
MILLION = 1_000_000


def features(images: int, dim: int) -> torch.Tensor:
    """Unit vectors float32 (images, dim)."""
    random = np.random.default_rng(0)
    groups = random.standard_normal((max(1, images // 50), 32), np.float32)
    near = groups[random.integers(0, len(groups), images)]
    near = near + 0.5 * random.standard_normal((images, 32), np.float32)
    made = near @ random.standard_normal((32, dim), np.float32)
    made += 2.4 * random.standard_normal(made.shape, np.float32)
    return torch.nn.functional.normalize(torch.from_numpy(made), dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--neighbours", type=int, default=20)
    options = parser.parse_args()
    if options.images <= EXACT:
        parser.error(f"among up to {EXACT} images neighbours are exact")
    unit = features(options.images, options.dim)
    began = time.process_time()
    found = nearest(unit, 10)
    searched = time.process_time() - began
    rows = torch.arange(CHECKED)
    cosines = unit[:CHECKED] @ unit.T
    cosines[rows, rows] = -1
    exact = cosines.topk(10, dim=1).indices
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(exact, found[:CHECKED], strict=True)])
    began = time.process_time()
    diffused(unit, options.neighbours)
    walked = time.process_time() - began - searched
    growth = MILLION / options.images
    million = searched * growth**1.5 + walked * growth
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    print("| images | search, CPU s | walks, CPU s | a million, CPU min | GiB | found |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    print(
        f"| {options.images:,} | {searched:.0f} | {walked:.0f} | {million / 60:.0f} | {memory:.1f} "
        f"| {100 * recall:.1f} % |"
    )
    print(
        f"\n{large_neighbours.PROBED} cells searched, similarities from {large_neighbours.NEGLIGIBLE}"
    )


if __name__ == "__main__":
    main()
