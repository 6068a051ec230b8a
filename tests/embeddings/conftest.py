"""Small files of embeddings after the layouts that products publish, and models fitted to them."""

from __future__ import annotations

import pytest
from fitted import fitted_model
from parquet_files import parquet_file


@pytest.fixture(scope="session")
def write_parquet():
    return parquet_file


@pytest.fixture(scope="session")
def make_model(tmp_path_factory):
    """Vectors, method and bits -> a model file, fitted once for each name."""

    def make(values, **options):
        return fitted_model(tmp_path_factory.mktemp("model"), values, **options)

    return make
