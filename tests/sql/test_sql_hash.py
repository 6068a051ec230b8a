"""dcsh.hash: the code of a vector in SQL is that of the model file."""

import numpy as np
import psycopg
import pytest
from fitted import fitted_model

from dcsh_pg import Archive, Hasher

VALUES = np.random.default_rng(8).standard_normal((200, 24)).astype(np.float32) * 100


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {
        method: fitted_model(tmp_path_factory.mktemp(method), VALUES, method=method)
        for method in ("itq", "prh", "kulsh")
    }


@pytest.mark.parametrize("method", ["itq", "prh"])
def test_codes_are_those_of_the_model_file(method, models, any_database):
    hasher = Hasher(models[method])
    expected = np.unpackbits(hasher.hash(VALUES), axis=1)
    with Archive.create("vectors", models[method], dsn=any_database) as archive:
        for vector, bits in zip(VALUES[:20], expected, strict=False):
            [code] = archive.connection.execute(
                "SELECT dcsh.hash('vectors', %s::real[])::text", [vector.tolist()]
            ).fetchone()
            assert code == "".join(map(str, bits))


def test_what_cannot_be_hashed_is_refused(models, model_file, database):
    Archive.create("curved", models["kulsh"], dsn=database).close()
    Archive.create("vectors", models["itq"], dsn=database).close()
    Archive.create("images", model_file, dsn=database).close()
    zeros = [0.0] * 24
    with psycopg.connect(database, autocommit=True) as conn:
        for archive, vector, message in (
            ("curved", zeros, "not a linear function small enough"),
            ("images", zeros, "takes images, not vectors"),
            ("vectors", zeros[1:], "vectors of 24 numbers, not 23"),
            ("vectors", [*zeros[1:], float("nan")], "NULL, NaN or infinite"),
            ("vectors", [*zeros[1:], None], "NULL, NaN or infinite"),
        ):
            with pytest.raises(psycopg.Error, match=message):
                conn.execute("SELECT dcsh.hash(%s, %s::real[])", [archive, vector])
