import numpy as np
import torch

from dcsh_pg.learning.training.pseudo_labels import pseudo_labels


def blobs(kinds=5, each=20, dim=30, views=2, seed=0):
    random = np.random.default_rng(seed)
    centres = 3 * random.normal(size=(kinds, 1, dim)).repeat(each, axis=0)
    seen = centres + 0.3 * random.normal(size=(kinds * each, views, dim))
    return torch.from_numpy(seen).float(), torch.arange(kinds).repeat_interleave(each)


def test_clusters_are_the_kinds():
    features, kinds = blobs()
    found = pseudo_labels(features, 5, quantile=0.7, seed=0).clusters
    assert torch.equal(found[:, None] == found, kinds[:, None] == kinds)


def test_the_nearest_share_of_each_cluster_is_confident():
    features, _ = blobs()
    labels = pseudo_labels(features, 5, quantile=0.7, seed=0)
    unit = torch.nn.functional.normalize(features, dim=2).mean(dim=1)
    for cluster in range(labels.count):
        members = labels.clusters == cluster
        distance = (unit[members] - unit[members].mean(dim=0)).norm(dim=1)
        sure = labels.confident[members]
        assert sure.sum() == 14 and distance[sure].max() < distance[~sure].min()
    assert pseudo_labels(features, 5, quantile=1.0, seed=0).confident.all()


def test_length_of_features_does_not_matter():
    features, _ = blobs()
    first, second = (
        pseudo_labels(scale * features, 8, quantile=0.7, seed=0) for scale in (1.0, 50.0)
    )
    assert torch.equal(first.clusters, second.clusters)


def test_few_images_get_few_clusters():
    features, _ = blobs(kinds=2, each=6)
    labels = pseudo_labels(features, 60, quantile=0.7, seed=0)
    assert labels.count == 6 and labels.clusters.max() < 6


def test_seed_decides_where_features_are_long():
    random = torch.Generator().manual_seed(0)
    features = torch.randn(300, 1, 200, generator=random)
    first, second, other = (
        pseudo_labels(features, 10, quantile=0.7, seed=seed).clusters for seed in (0, 0, 1)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)
