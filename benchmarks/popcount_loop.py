"""A plain C loop of XOR and popcount over all codes: the limit for every exact scan.

Compiled on request with the system's compiler, for this processor.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

SOURCE = r"""
#include <stddef.h>
#include <stdint.h>

uint64_t sum_of_distances(const uint64_t *codes, size_t rows, const uint64_t *query)
{
    uint64_t sum = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t word = 0; word < WORDS; word++)
            sum += __builtin_popcountll(codes[row * WORDS + word] ^ query[word]);
    return sum;
}
"""


def popcount_loop(codes: np.ndarray) -> Callable[[bytes], int]:
    """Returns a function of a packed query: the sum of its distances to all ``codes``, packed
    uint8 (N, K/8), K a multiple of 64.

    Raises:
        OSError, subprocess.CalledProcessError: no C compiler, or it fails.
    """
    words = codes.shape[1] // 8
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "loop.c"), Path(folder, "loop.so")
        source.write_text(SOURCE)
        command = [*os.environ.get("CC", "cc").split(), "-O3", "-march=native", f"-DWORDS={words}"]
        subprocess.run([*command, "-shared", "-fPIC", source, "-o", library], check=True)
        function = ctypes.CDLL(str(library)).sum_of_distances
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    function.restype = ctypes.c_uint64
    return lambda query: function(codes.ctypes.data, len(codes), query)
