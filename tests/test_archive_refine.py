"""Refined searches: real values of vectors and of chips that are read again, in Python and on the command line."""

import json

import numpy as np
import pytest
from fitted import fitted_model
from parquet_files import parquet_file
from typer.testing import CliRunner

from dcsh_pg import Archive, ChipQuery, CodeQuery, Hasher, codes
from dcsh_pg.cli.main import app
from dcsh_pg.database.search.chips import code_of
from dcsh_pg.errors import InputError, UsageError

RANDOM = np.random.default_rng(3)
VALUES = (RANDOM.standard_normal((5, 24)) * 2).repeat(120, axis=0) + RANDOM.standard_normal(
    (600, 24)
)
VALUES = VALUES.astype(np.float32)


@pytest.fixture(scope="module")
def vector_model(tmp_path_factory):
    return fitted_model(tmp_path_factory.mktemp("model"), VALUES, bits=16)


@pytest.fixture
def vectors(database, vector_model, tmp_path):
    parquet_file(tmp_path / "a.parquet", VALUES)
    with Archive.create("vectors", vector_model, dsn=database) as archive:
        archive.ingest_embeddings([str(tmp_path / "a.parquet")]).raise_for_failures()
        yield archive


def by_score(model, query, k):
    packed, z = Hasher(model).hash_real(np.concatenate([query[None], VALUES]))
    signs = 2.0 * np.unpackbits(packed[1:], axis=1) - 1
    scores = (signs * np.tanh(z[0].astype(np.float64))).sum(axis=1).round(9)
    distances = codes.hamming(packed[1:], packed[:1])[:, 0]
    order = np.lexsort((np.arange(600), -scores, distances))[:k]
    return [(int(distances[n]), int(n) + 1) for n in order]


def test_a_vector_is_refined_alike_in_python_and_on_the_command_line(
    vectors, vector_model, database, tmp_path
):
    query = VALUES[7] + 0.1
    expected = by_score(vector_model, query, 200)
    hits = vectors.similar_to_vector(query, k=200, refine=True)
    assert [(hit.distance, hit.id) for hit in hits] == expected
    plain = vectors.similar_to_vector(query, k=200)
    assert [hit.distance for hit in plain] == [hit.distance for hit in hits]
    assert plain != hits
    np.save(tmp_path / "q.npy", query)
    line = ["search", "vectors", "--vector", str(tmp_path / "q.npy"), "-k", "200", "--refine"]
    done = CliRunner().invoke(app, [*line, "--json", "--dsn", database])
    assert done.exit_code == 0, done.output
    assert [(row["distance"], row["id"]) for row in json.loads(done.stdout)] == expected


def test_a_chip_is_read_and_hashed_again(database, model_file, scenes):
    with Archive.create("a", model_file, chip_size=128, dsn=database) as archive:
        archive.ingest([str(scenes)])
        query = archive.refined(archive.query_chip(5))
        assert isinstance(query, ChipQuery)
        code = codes.from_real(np.asarray(query.z)[None])[0]
        assert bytes(code) == code_of(archive.connection, "a", 5)
        plain, refined = archive.similar_to(5, k=9), archive.similar_to(5, k=9, refine=True)
        assert [hit.distance for hit in plain] == [hit.distance for hit in refined]
        archive.connection.execute("UPDATE dcsh.a SET code = ~code WHERE id = 5")
        with pytest.raises(UsageError, match="chip 5 no longer gives its code"):
            archive.similar_to(5, refine=True)
        archive.connection.execute("UPDATE dcsh.scene SET uri = '/gone/' || id")
        with pytest.raises(InputError, match="/gone/"):
            archive.similar_to(5, refine=True)


def test_queries_without_real_values_are_refused(vectors, database):
    with pytest.raises(UsageError, match="code: only an image, a vector or one chip"):
        vectors.search(CodeQuery(bytes(2), caption="code"), refine=True)
    with pytest.raises(InputError, match="has embeddings and no pixels"):
        vectors.similar_to(3, refine=True)
    for query in (["--code", "0000"], ["--like", "1,2"], ["--region", "10,50,10.1,50.1"]):
        line = ["search", "vectors", *query, "--refine", "--dsn", database]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == UsageError.exit_code
        assert "real values that refine ties" in done.stderr and "--refine" in done.stderr
