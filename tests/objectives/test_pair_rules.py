"""Slices, missing labels, absent rows and soft clips in every execution, against golden and float64 values."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mmcl_jax.objectives.pairs import (
    Execution,
    PairLosses,
    PairRule,
    also,
    contrast,
    exclude,
    present,
    same,
    sigmoid_contrast,
    within,
)
from mmcl_jax.training.mesh import make_mesh
from tests.objectives.lcg import lcg

B, D = 16, 4
RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(2, B, D)).astype(np.float32)
WEIGHTS = RNG.uniform(0.5, 2, size=(2, B))
PLACE = np.arange(B)
LABEL = np.array([0, -1, 2, 0, -1, 1, 2, 2, -1, 0, 1, -1, 0, 2, -1, 1])
GROUP = np.array([5, 3, 5, 3, 5, 3, 5, 3, 9, 9, 5, 3, 9, 5, 3, 9])
PRESENT = np.array([i not in (0, 3, 4, 11, 15) for i in range(B)])
METADATA = {
    "id": PLACE.astype(np.uint32) + 7,
    "index": PLACE.astype(np.int32),
    "label": LABEL.astype(np.int32),
    "group": GROUP.astype(np.int32),
    "present": PRESENT,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A loss, and its rule once more as a function of two indices: (positive, counted)."""

    rule: PairRule
    of: Callable[[int, int], tuple[bool, bool]]
    kind: str = "all"
    scale: float = 5.0
    normalise: bool = True
    clip: float | None = None
    present: bool = False  # said in the argument, not by the rule

    def losses(self, x: jax.Array, y: jax.Array, metadata: dict[str, jax.Array], execution: Execution) -> PairLosses:
        common = {"x_metadata": metadata, "y_metadata": metadata, "scale": self.scale, "execution": execution}
        common |= {"normalise": self.normalise, "clip": self.clip}
        common |= {"present": metadata["present"]} if self.present else {}
        if self.kind == "sigmoid":
            return sigmoid_contrast(x, y, rule=self.rule, bias=-2.0, **common)
        return contrast(x, y, rule=self.rule, denominator=self.kind, **common)

    def masks(self) -> np.ndarray:
        return np.array([[self.of(i, j) for j in range(B)] for i in range(B)]).transpose(2, 0, 1)


def same_label(i: int, j: int) -> bool:
    """Whether two rows have the same label, and have any."""
    return bool(LABEL[i] == LABEL[j] >= 0)


def here(i: int, j: int) -> bool:
    return bool(PRESENT[i] and PRESENT[j])


def own_rule(rows, columns):
    """A rule of somebody's own, around `present`: it lets absent rows count again."""
    positive, counted = present(same("id"))(rows, columns)
    group = rows["group"] == columns["group"]
    return positive | group, counted | group


CASES = {
    "slices of 4": Case(rule=within(same("id"), size=4), of=lambda i, j: (i == j, i // 4 == j // 4)),
    "slices of 5": Case(
        rule=within(same("label"), size=5),
        of=lambda i, j: (i // 5 == j // 5 and LABEL[i] == LABEL[j], i // 5 == j // 5),
    ),
    "slices by a key": Case(rule=within(same("id"), "group"), of=lambda i, j: (i == j, GROUP[i] == GROUP[j])),
    "labels that may be missing": Case(
        rule=also(same("id"), "label", missing=-1), of=lambda i, j: (i == j or same_label(i, j), True)
    ),
    "missing labels have nothing": Case(rule=same("label", missing=-1), of=lambda i, j: (same_label(i, j), True)),
    "missing labels repel": Case(
        rule=exclude(same("id"), "label", missing=-1), of=lambda i, j: (i == j, i == j or not same_label(i, j))
    ),
    "softly clipped": Case(rule=same("id"), of=lambda i, j: (i == j, True), scale=3.0, normalise=False, clip=2.5),
    "softly clipped, several positives": Case(
        rule=also(same("id"), "label", missing=-1),
        of=lambda i, j: (i == j or same_label(i, j), True),
        kind="negatives",
        normalise=False,
        clip=2.5,
    ),
    "absent rows": Case(rule=present(same("id")), of=lambda i, j: (i == j and here(i, j), here(i, j))),
    "absent rows, sigmoid": Case(
        rule=present(same("id")), of=lambda i, j: (i == j and here(i, j), here(i, j)), kind="sigmoid"
    ),
    "absent rows, not normalised": Case(
        rule=present(same("id")),
        of=lambda i, j: (i == j and here(i, j), here(i, j)),
        normalise=False,
        clip=4.0,
    ),
    "absent rows, a rule of one's own": Case(
        rule=own_rule,
        of=lambda i, j: (here(i, j) and (i == j or GROUP[i] == GROUP[j]), here(i, j)),
        present=True,
    ),
    "absent rows, a rule of one's own, sigmoid": Case(
        rule=own_rule,
        of=lambda i, j: (here(i, j) and (i == j or GROUP[i] == GROUP[j]), here(i, j)),
        kind="sigmoid",
        scale=3.0,
        normalise=False,
        clip=4.0,
        present=True,
    ),
    "sigmoid, softly clipped": Case(rule=same("id"), of=lambda i, j: (i == j, True), kind="sigmoid", clip=2.5),
    "absent rows inside other rules": Case(
        rule=exclude(within(also(present(same("id")), "label", missing=-1), size=8), "group"),
        of=lambda i, j: (
            here(i, j) and i // 8 == j // 8 and (i == j or same_label(i, j)),
            here(i, j) and i // 8 == j // 8 and (i == j or same_label(i, j) or GROUP[i] != GROUP[j]),
        ),
    ),
}
# What needs no kernel to be seen.
MASKS_ALONE = ["slices of 5", "slices by a key", *(name for name in CASES if name.startswith("missing"))]
SWEPT = [name for name in CASES if name not in MASKS_ALONE]
# Absent rows hold what breaks a product; other cases have numbers there.
ABSENT = [name for name in CASES if name.startswith("absent")]
JUNK = np.array([np.nan, 1e30, -np.inf, 3e38, np.nan], np.float32)[:, None]


def reference(case: Case, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The weighted sum of the losses of all anchors in float64, and the anchors' losses [2, B]."""
    if case.normalise:
        x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    logits = case.scale * x @ y.T - (2 if case.kind == "sigmoid" else 0)
    if case.clip:
        logits = case.clip * np.tanh(logits / case.clip)
    positive, counted = case.masks()
    if case.kind == "sigmoid":
        each = np.logaddexp(0, np.where(positive, -1, 1) * logits) * counted
        losses = np.stack([each.sum(axis=1), each.sum(axis=0)])
        return float(np.sum(WEIGHTS * losses)), losses
    losses = np.zeros((2, B))
    for d, (s, p, c) in enumerate(((logits, positive, counted), (logits.T, positive.T, counted.T))):
        below = c & ~p if case.kind == "negatives" else c
        for i in range(B):
            if p[i].any() and below[i].any():
                losses[d, i] = np.log(np.sum(np.exp(s[i][below[i]]))) - s[i][p[i]].mean()
    return float(np.sum(WEIGHTS * losses)), losses


def reference_gradients(case: Case) -> np.ndarray:
    """Central differences in float64, [2, B, D]."""
    sides, gradients = np.stack([X, Y]).astype(np.float64), np.zeros((2, B, D))
    for index in np.ndindex(2, B, D):
        step = np.zeros_like(sides)
        step[index] = 1e-6
        gradients[index] = (reference(case, *(sides + step))[0] - reference(case, *(sides - step))[0]) / 2e-6
    return gradients


def execution(name: str, devices: int, tile: int | None = None) -> Execution:
    return Execution(name=name, mesh=make_mesh(jax.devices()[:devices]), tile=tile)


def on(execution: Execution, tree):
    assert execution.mesh is not None
    return jax.device_put(tree, NamedSharding(execution.mesh, PartitionSpec(execution.mesh.axis_names)))


@pytest.fixture(scope="module", params=["dense", "gathered", "ring"])
def results(request: pytest.FixtureRequest) -> dict[str, tuple]:
    """(losses, gradients) of every case on 8 devices, by one program."""
    walk = execution(request.param, 8, tile=3)

    def total(x, y, metadata, case):
        both = case.losses(x, y, metadata, walk)
        weights = jnp.asarray(WEIGHTS, jnp.float32)
        return weights[0] @ both.forward.loss + weights[1] @ both.backward.loss, both

    def losses_and_gradients(clean, junk, metadata):
        actual = {}
        for name in SWEPT:
            case = CASES[name]
            gradients = jax.grad(total, argnums=(0, 1), has_aux=True)
            gradient, both = gradients(*(junk if name in ABSENT else clean), metadata, case)
            actual[name] = both, gradient
        return actual

    junk = np.stack([X, Y])
    junk[0, ~PRESENT] = JUNK
    junk[1, ~PRESENT] = JUNK[::-1]
    return jax.jit(losses_and_gradients)(*on(walk, ((X, Y), tuple(junk), METADATA)))


@pytest.mark.core
@pytest.mark.parametrize("name", CASES)
def test_rules_say_which_pairs_are_positives_and_which_count(name: str) -> None:
    rows = {key: jnp.asarray(values)[:, None] for key, values in METADATA.items()}
    columns = {key: jnp.asarray(values)[None] for key, values in METADATA.items()}
    actual = [np.broadcast_to(mask, (B, B)) for mask in CASES[name].rule(rows, columns)]
    if CASES[name].present:
        actual = [mask & PRESENT[:, None] & PRESENT for mask in actual]
    np.testing.assert_array_equal(actual, CASES[name].masks())


@pytest.mark.parametrize("name", SWEPT)
def test_every_case_agrees_with_float64_in_every_execution(results: dict[str, tuple], name: str) -> None:
    both, gradients = results[name]
    _, losses = reference(CASES[name], X.astype(np.float64), Y.astype(np.float64))
    np.testing.assert_allclose([both.forward.loss, both.backward.loss], losses, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(gradients, reference_gradients(CASES[name]), rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("name", ABSENT)
def test_absent_rows_have_no_loss_and_no_gradient_whatever_they_hold(results: dict[str, tuple], name: str) -> None:
    both, gradients = results[name]
    for side in (both.forward, both.backward):
        np.testing.assert_array_equal(side.valid, PRESENT)
        assert not np.asarray(side.top1)[~PRESENT].any()
        np.testing.assert_allclose(side.mean(), np.asarray(side.loss)[PRESENT].mean(), rtol=1e-6)
        np.testing.assert_allclose(side.accuracy(), np.asarray(side.top1)[PRESENT].mean(), rtol=1e-6)
    for gradient in gradients:
        np.testing.assert_array_equal(np.asarray(gradient)[~PRESENT], 0)
        assert np.abs(np.asarray(gradient)[PRESENT]).min(axis=1).all()


def test_cases_differ() -> None:
    values = {name: reference(case, X.astype(np.float64), Y.astype(np.float64))[0] for name, case in CASES.items()}
    assert len(set(values.values())) == len(CASES)


# ContIG's and LoVT's arrays of four samples, which lie among four others that are absent.
COMPLETE = np.array([1, 2, 5, 6])
GOLDEN = {
    # (scale, denominator): image -> genetics, genetics -> image; means of four
    (10.0, "all"): (6.257377, 5.286672),
    (1.0, "all"): (1.564721, 1.539200),
    (10.0, "negatives"): (24.973674 / 4, 20.660363 / 4),
}


@pytest.mark.core
@pytest.mark.parametrize("name", ["dense", "gathered", "ring"])
def test_golden_values_of_contig_and_lovt_among_absent_rows(name: str) -> None:
    walk = execution(name, 8)
    x, y = np.full((2, 8, 6), np.nan, np.float32)
    x[COMPLETE], y[COMPLETE] = lcg((4, 6), 21), lcg((4, 6), 22)
    metadata = {"id": np.arange(8, dtype=np.uint32), "present": np.isin(np.arange(8), COMPLETE)}

    def means(x, y, metadata):
        actual = {}
        for scale, denominator in GOLDEN:
            both = contrast(
                x,
                y,
                rule=present(same("id")),
                x_metadata=metadata,
                y_metadata=metadata,
                scale=scale,
                denominator=denominator,
                execution=walk,
            )
            actual[scale, denominator] = both.forward.mean(), both.backward.mean()
        return list(actual.values())

    actual = dict(zip(GOLDEN, jax.jit(means)(*on(walk, (x, y, metadata))), strict=True))
    for case, values in GOLDEN.items():
        np.testing.assert_allclose(actual[case], values, rtol=2e-6)
    np.testing.assert_allclose(np.dot(actual[10.0, "all"], (0.75, 0.25)), 6.014701, rtol=2e-6)
    np.testing.assert_allclose(np.mean(actual[1.0, "all"]), 1.551961, rtol=2e-6)
    np.testing.assert_allclose(4 * np.dot(actual[10.0, "negatives"], (0.75, 0.25)), 23.895346, rtol=2e-6)


def test_presence_by_side_is_another_loss_backward() -> None:
    """What the docstring of `present` says: images without a table stay negatives of every table."""
    x, y = np.zeros((2, 6, 6), np.float32)
    x[:4], y[:4] = lcg((4, 6), 21), lcg((4, 6), 22)
    x[4:] = lcg((2, 6), 23)
    ids, everyone, complete = jnp.arange(6), jnp.ones(6, bool), jnp.arange(6) < 4

    @jax.jit
    def losses(x_present: jax.Array, y_present: jax.Array) -> PairLosses:
        return contrast(
            jnp.asarray(x),
            jnp.asarray(y),
            rule=present(same("id")),
            x_metadata={"id": ids, "present": x_present},
            y_metadata={"id": ids, "present": y_present},
            scale=10.0,
            execution=Execution(name="dense"),
        )

    both, by_side = losses(complete, complete), losses(everyone, complete)
    np.testing.assert_allclose(both.forward.mean(), by_side.forward.mean(), rtol=1e-6)
    np.testing.assert_allclose(both.backward.mean(), 5.286672, rtol=2e-6)
    np.testing.assert_allclose(by_side.backward.mean(), 6.689963, rtol=2e-6)


def test_a_slice_has_a_sample() -> None:
    with pytest.raises(ValueError, match="a slice has at least 1 sample, not 0"):
        within(same("id"), size=0)


def test_a_clip_is_positive() -> None:
    ids = {"id": jnp.arange(B)}
    with pytest.raises(ValueError, match=r"clip must be positive, not 0\.0"):
        contrast(jnp.asarray(X), jnp.asarray(Y), rule=same("id"), x_metadata=ids, y_metadata=ids, scale=1.0, clip=0.0)
