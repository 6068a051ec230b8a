import pytest
from made import FACTS

from dcsh_pg.benchmark.paper import reported
from dcsh_pg.benchmark.rows import COSINE, Row

AID = {**FACTS, "dataset": "aid", "images": 10000, "side": 600, "database_share": 0.5}


@pytest.mark.parametrize(
    ("facts", "row", "scores"),
    [
        (FACTS, Row("a", "dcsh", "resnet50", freeze=False), (75.80, 78.17, 80.49, 80.09)),
        (AID, Row("a", "dcsh", "resnet50", freeze=False), (66.17, 70.04, 71.48, 73.83)),
        (FACTS, Row("a", "plsh", "vgg16-fc7"), (62.28, 65.35, 70.44, 73.07)),
        (FACTS, Row("a", "itq", "gist"), (19.35, 20.45, 20.89, 20.78)),
        (AID, Row("a", "lsh", "gist"), (10.53, 10.89, 12.74, 13.77)),
    ],
)
def test_rows_of_the_paper_on_its_own_ingredients(facts, row, scores):
    found = reported(facts, row)
    assert found.scores == dict(zip((16, 32, 48, 64), scores, strict=True))
    assert found.differences == ()


@pytest.mark.parametrize(
    ("changes", "row", "difference"),
    [
        ({}, Row("a", "dcsh", "resnet50"), "encoder frozen"),
        ({}, Row("a", "dcsh", "densenet169", freeze=False), "densenet169 in place of ResNet-50"),
        ({}, Row("a", "itq", "densenet169"), "densenet169 in place of VGG16"),
        ({"side": 150}, Row("a", "itq", "gist"), "pictures of 150 px, not 256"),
        ({"images": 210}, Row("a", "itq", "gist"), "210 images, not 2100"),
        ({"database_share": 0.5}, Row("a", "itq", "gist"), "50 % in the database, not 80 %"),
    ],
)
def test_every_difference_is_reported(changes, row, difference):
    assert reported({**FACTS, **changes}, row).differences == (difference,)


def test_orientations_are_a_difference():
    found = reported(FACTS, Row("a", "itq", "gist"), orientations=8)
    assert found.differences == ("8 orientations of each image",)


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"dataset": "fields"}, Row("a", "itq", "gist")),
        ({}, Row("a", COSINE, "gist")),
        ({}, Row("a", "psch", "densenet169")),
    ],
)
def test_what_the_paper_does_not_have(changes, row):
    assert reported({**FACTS, **changes}, row) is None
