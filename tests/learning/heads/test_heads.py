import by_hand
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsh_pg.errors import ModelError, UsageError
from dcsh_pg.learning import heads
from dcsh_pg.learning.heads import KernelHead, MLPHead, TopicHead

DIM, BITS = 12, 16


def drawn(head, seed=0):
    """The head with random parameters, those of a kernel or topic model as they have to be."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in (*head.parameters(), *head.buffers()):
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    if head.KIND == "topics":
        head.words /= head.words.sum(dim=2, keepdim=True)
    return head.eval()


def kinds():
    return [
        drawn(MLPHead(DIM, BITS)),
        drawn(MLPHead(DIM, BITS, l2_normalize=True)),
        drawn(KernelHead(DIM, BITS, anchors=7)),
        drawn(KernelHead(DIM, BITS, anchors=7, l2_normalize=True)),
        drawn(TopicHead(DIM, BITS, groups=4, steps=9)),
        drawn(TopicHead(DIM, BITS, groups=1, steps=1)),
    ]


def some_features(count=6, seed=0):
    return torch.rand((count, DIM), generator=torch.Generator().manual_seed(seed)) + 0.01


@pytest.mark.parametrize("head", kinds(), ids=lambda head: head.KIND)
def test_z_is_what_the_formula_gives(head):
    z = head(some_features())
    assert z.dtype == torch.float32 and z.shape == (6, BITS)
    assert np.allclose(z.detach(), by_hand.z_of(head, some_features().numpy()), atol=1e-5)


@pytest.mark.parametrize(
    "head",
    [*kinds(), drawn(MLPHead(DIM, BITS, hidden=(5, 4), batch_norm=True, l2_normalize=True))],
    ids=lambda head: head.KIND,
)
def test_kind_config_and_state_bring_a_head_back(head):
    again = heads.build(head.KIND, head.config)
    again.load_state_dict(head.state_dict())
    assert again.config == head.config and (again.dim, again.bits) == (DIM, BITS)
    with torch.no_grad():
        assert torch.equal(again.eval()(some_features()), head(some_features()))


@pytest.mark.parametrize("head", kinds(), ids=lambda head: head.KIND)
def test_an_image_does_not_depend_on_its_batch(head):
    with torch.no_grad():
        together, alone = head(some_features()), head(some_features()[2:3])
    assert torch.allclose(together[2:3], alone, atol=1e-6)


def test_unknown_kinds_and_lengths_are_refused():
    with pytest.raises(ModelError, match="'forest'"):
        heads.build("forest", {"dim": DIM, "bits": BITS})
    for make in (
        lambda: MLPHead(DIM, 20),
        lambda: KernelHead(DIM, 20, anchors=3),
        lambda: TopicHead(DIM, 20, groups=2, steps=1),
    ):
        with pytest.raises(UsageError, match="20 bits"):
            make()


# -- layers --------------------------------------------------------------------------------------


def test_layers_stand_as_they_are_reported():
    head = MLPHead(DIM, BITS, hidden=(8, 6))
    assert [type(layer).__name__ for layer in head.layers] == [
        "Linear", "ReLU", "Linear", "ReLU", "Linear",
    ]  # fmt: skip
    assert [layer.out_features for layer in head.layers[::2]] == [8, 6, BITS]


def test_linear_takes_weights_and_biases():
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(BITS, DIM)), random.normal(size=BITS)
    features = some_features()
    z = MLPHead.linear(weight, bias)(features).detach()
    assert np.allclose(z, features.numpy() @ weight.T + bias, atol=1e-5)
    scaled = MLPHead.linear(weight, bias, l2_normalize=True)(features).detach()
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    assert np.allclose(scaled, features.numpy() / lengths @ weight.T + bias, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), hidden=st.sampled_from([(), (5,), (6, 4)]))
def test_folding_changes_no_z(seed, hidden):
    head = drawn(MLPHead(DIM, BITS, hidden=hidden, batch_norm=True), seed)
    with torch.no_grad():
        before = head(some_features(seed=seed))
        head.fold()
        assert not head.config["batch_norm"]
        assert torch.allclose(head(some_features(seed=seed)), before, rtol=1e-4, atol=1e-4)
        head.fold()  # a second time does nothing
        assert torch.allclose(head(some_features(seed=seed)), before, rtol=1e-4, atol=1e-4)


def test_calibrated_bits_have_mean_0_and_deviation_1():
    head = MLPHead(DIM, BITS, hidden=(5,), batch_norm=True).eval()
    features = some_features(200)
    with torch.no_grad():
        head.calibrate(head.project(features))
        z = head(features)
    assert torch.allclose(z.mean(dim=0), torch.zeros(BITS), atol=1e-4)
    spread = head.project(features).var(dim=0)
    assert torch.allclose(z.var(dim=0), spread / (spread + head.norm.eps), rtol=1e-3)
    MLPHead(DIM, BITS).calibrate(torch.rand(5, BITS))  # nothing to set


# -- kernel --------------------------------------------------------------------------------------


def test_kernel_is_1_at_its_anchor_and_falls_with_distance():
    head = drawn(KernelHead(DIM, BITS, anchors=7))
    rows = head.kernel(head.points)
    assert rows.dtype == torch.float64
    assert torch.allclose(rows.diagonal(), torch.ones(7, dtype=torch.float64))
    assert torch.equal(rows, rows.T) and rows.min() > 0
    away = torch.stack([head.kernel(head.points + step).diagonal() for step in (0.1, 0.2, 0.4)])
    assert (away.diff(dim=0) < 0).all() and away.max() < 1


def test_kernels_of_near_anchors_are_reported_apart():
    """Anchors that differ by a millionth; weights as large as a whitened direction has them."""
    head = drawn(KernelHead(DIM, BITS, anchors=2))
    with torch.no_grad():
        head.points[1] = head.points[0] * (1 + 1e-6)
        head.centre.zero_()
        head.linear.weight[:] = torch.tensor([1e4, -1e4])
        z = head(some_features()).numpy()
    assert np.allclose(z, by_hand.z_of(head, some_features().numpy()), atol=1e-5)


# -- topics --------------------------------------------------------------------------------------


def test_shares_of_each_group_sum_to_1():
    head = drawn(TopicHead(DIM, BITS, groups=4, steps=9))
    shares = head.shares(some_features())
    assert shares.min() >= 0
    assert torch.allclose(shares.view(6, 4, 4).sum(dim=2), torch.ones(6, 4), atol=1e-5)


def test_features_count_as_frequencies():
    """Their sum does not matter, and those below 0 are none at all."""
    head = drawn(TopicHead(DIM, BITS, groups=4, steps=9))
    features = some_features()
    assert torch.allclose(head(1000 * features), head(features), atol=1e-5)
    features[:, 3] = 0
    without = head(features)
    features[:, 3] = -5
    assert torch.equal(head(features), without)


def test_each_step_makes_the_image_more_likely():
    """EM never lowers sum_w n(w) log P(w)."""
    counts = some_features()
    likelihoods = []
    for steps in range(1, 12):
        head = drawn(TopicHead(DIM, BITS, groups=1, steps=steps))
        words = head.shares(counts) @ head.words[0]
        likelihoods.append((counts * words.log()).sum(dim=1))
    assert (torch.stack(likelihoods).diff(dim=0) > -1e-5).all()


def test_an_image_without_features_is_finite():
    head = drawn(TopicHead(DIM, BITS, groups=4, steps=30))
    assert torch.isfinite(head(torch.zeros(2, DIM))).all()
