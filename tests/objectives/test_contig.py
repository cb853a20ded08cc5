"""ContIG's loss: golden values of both its forms, two eyes of one person, absent rows, and SimCLR with a queue."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.arrays import ArrayError
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import TERMS, Execution, build_objective
from mmcl_jax.objectives.terms.clip import clip
from mmcl_jax.objectives.terms.nt_xent import nt_xent
from mmcl_jax.training.mesh import by_example, make_mesh
from tests.objectives.lcg import lcg

IMAGES, GENES = lcg((4, 6), 21), lcg((4, 6), 22)
EQUATION = {"denominator": "negatives", "reduction": "sum"}
# Two eyes of most people: 16 samples of nine people, of whom some lack their genes.
PEOPLE = np.array([0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 7, 7, 8, 8], np.int32)
PRESENT = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1], bool)
X, Y = np.random.default_rng(3).normal(size=(2, 16, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("options", "golden"),
    [
        ({"balance": 1.0}, 6.257377),
        ({"balance": 0.0}, 5.286672),
        ({"balance": 0.75}, 6.014701),
        ({"balance": 0.5, "temperature": 1.0}, 1.551961),
        ({"balance": 1.0, "temperature": 1.0}, 1.564721),
        ({"balance": 0.0, "temperature": 1.0}, 1.539200),
        ({"balance": 0.75, **EQUATION}, 23.895346),
        ({"balance": 1.0, **EQUATION}, 24.973674),
        ({"balance": 0.0, **EQUATION}, 20.660363),
    ],
)
def test_golden_values(options: dict[str, Any], golden: float) -> None:
    """Of the released code, and of equation 1; also where four other people, who lack their genes, are in the batch."""
    term = clip(**options)
    np.testing.assert_allclose(term(IMAGES, GENES), golden, rtol=1e-6)
    images, genes = (np.insert(side, [0, 1, 2, 4], np.float32(np.nan), axis=0) for side in (IMAGES, GENES))
    present = np.isfinite(genes).all(axis=1)
    assert present.sum() == 4
    np.testing.assert_allclose(term(images, genes, present=present), golden, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, EQUATION])
def test_one_row_that_is_left_has_the_loss_0_and_none_counts_nothing(options: dict[str, Any]) -> None:
    for present in (np.arange(4) == 2, np.zeros(4, bool)):
        found = clip(**options).with_metrics(IMAGES, GENES, present=present)
        assert float(found.value) == 0
        assert float(found.rows) == present.sum()


def by_hand(x: np.ndarray, y: np.ndarray, group: str, present: np.ndarray, *, denominator: str) -> np.ndarray:
    """The mean losses of both directions in float64, with loops."""
    x, y = (side.astype(np.float64) / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    rows, directions = np.flatnonzero(present), []
    for logits in (x @ y.T / 0.1, y @ x.T / 0.1):
        losses = []
        for i in rows:
            positives = [j for j in rows if j == i or (group == "attract" and PEOPLE[j] == PEOPLE[i])]
            others = [j for j in rows if j not in positives and (group != "ignore" or PEOPLE[j] != PEOPLE[i])]
            below = others + (positives if denominator == "all" else [])
            losses.append(np.log(np.exp(logits[i, below]).sum()) - logits[i, positives].mean())
        directions.append(np.mean(losses))
    return np.array(directions)


@pytest.mark.parametrize("group", ["repel", "ignore", "attract"])
def test_two_eyes_of_one_person(group: str) -> None:
    """In every execution on four devices, and on one; rows that lack a side, here NaN, change nothing."""
    x, y = (np.where(PRESENT[:, None], side, np.float32(np.nan)) for side in (X, Y))
    expected = {kind: by_hand(X, Y, group, PRESENT, denominator=kind) @ [0.75, 0.25] for kind in ("all", "negatives")}
    mesh, gradients = make_mesh(jax.devices()[:4]), []
    for name, tile in (("dense", None), ("gathered", 3), ("ring", 3)):
        for kind, value in expected.items() if name == "gathered" else [("all", expected["all"])]:
            term = clip(balance=0.75, group=group, denominator=kind)
            execution = Execution(name=name, tile=tile, mesh=mesh)

            @jax.jit
            @jax.value_and_grad
            def loss(x: jax.Array, y: jax.Array, term=term, execution=execution) -> jax.Array:
                return term(x, y, groups=PEOPLE, present=PRESENT, execution=execution)

            found, slope = loss(*(jax.device_put(side, by_example(mesh)) for side in (x, y)))
            np.testing.assert_allclose(found, value, rtol=2e-6)
            assert not np.asarray(slope)[~PRESENT].any()
            gradients += [slope] if kind == "all" else []
    for slope in gradients[1:]:
        np.testing.assert_allclose(slope, gradients[0], rtol=1e-4, atol=1e-6)
    assert {group} == {"repel"} or not np.allclose(
        expected["all"], by_hand(X, Y, "repel", PRESENT, denominator="all") @ [0.75, 0.25]
    )


def test_groups_are_asked_for_in_one_sentence() -> None:
    with pytest.raises(ArrayError, match=r"group='ignore' reads the person of each row; give groups=, int \[rows\]"):
        clip(group="ignore")(X, Y)
    with pytest.raises(UserError, match=r"config.objective.0.group: 'ignored' is not of type Literal\['repel'"):
        TERMS.build(TERMS.spec("clip", group="ignored"), "config.objective.0")


def outputs(present: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Embeddings of an image and three vectors, and a batch in which people lack some."""
    rng = np.random.default_rng(0)
    names = ("snp", "pgs", "burden")
    texts = [text for name in names for text in (f"image:{name}", name)]
    embeddings = {text: jnp.asarray(rng.normal(size=(6, 4)), jnp.float32) for text in texts}
    batch = {"id": jnp.arange(6, dtype=jnp.uint32), **{f"present/{name}": jnp.asarray(present[name]) for name in names}}
    return {"embedding": embeddings}, batch


@pytest.mark.parametrize(("normalise", "weight"), [(None, 1 / 3), (None, 1.0), ("present", 1.0), ("present", 1 / 3)])
def test_a_vector_that_nobody_in_the_batch_has_is_skipped(normalise: str | None, weight: float) -> None:
    """The released code divides by the three that are configured, the paper's sum by nothing; or by those present."""
    present = {
        "snp": np.array([1, 1, 0, 1, 0, 1], bool),
        "pgs": np.zeros(6, bool),
        "burden": np.array([0, 0, 1, 1, 1, 1], bool),
    }
    made, batch = outputs(present)
    specs = [TERMS.spec("clip", between=(f"image:{name}", name), balance=0.75, weight=weight) for name in present]
    modalities = {"image": "image", **{name: name for name in present}}
    total, metrics = build_objective(specs, modalities, normalise=normalise)(made, batch)
    alone = [
        float(clip(balance=0.75)(*(made["embedding"][text][rows] for text in (f"image:{name}", name))))
        for name, rows in present.items()
        if rows.any()
    ]
    expected = sum(alone) / 2 if normalise else sum(alone) * weight
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    assert float(metrics["clip/image:pgs-pgs/rows"]) == float(metrics["clip/image:pgs-pgs"]) == 0


@pytest.mark.parametrize("denominator", ["all", "negatives"])
def test_nt_xent_with_a_queue_against_numpy(denominator: str) -> None:
    """MoCo's equation 1: anchors of the second view, and the first view's earlier embeddings as negatives."""
    queue = np.random.default_rng(4).normal(size=(9, 5)).astype(np.float32)
    x, y, q = (side.astype(np.float64) / np.linalg.norm(side, axis=1, keepdims=True) for side in (X, Y, queue))
    positive, negative = (x * y).sum(axis=1) / 0.1, y @ q.T / 0.1
    below = np.exp(negative).sum(axis=1) + (np.exp(positive) if denominator == "all" else 0)
    losses = np.log(below) - positive
    term = nt_xent(queue=9, denominator=denominator)
    found = term.with_metrics(X, Y, queue=queue)
    np.testing.assert_allclose(found.value, losses.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.metrics["top1"], (positive >= negative.max(axis=1)).mean())
    np.testing.assert_allclose(term(X, Y, queue=queue, present=PRESENT), losses[PRESENT].mean(), rtol=1e-6)
    slopes = jax.grad(lambda x, y: term(x, y, queue=queue), argnums=(0, 1))(jnp.asarray(X), jnp.asarray(Y))
    assert all(np.abs(slope).max() > 1e-3 for slope in slopes)  # both views are trained, as without a queue
    with pytest.raises(ValueError, match="a queue has no labels; leave labels at 'ignore', not 'attract'"):
        nt_xent(queue=9, labels="attract")


def test_the_queue_holds_the_first_views_embeddings_of_earlier_steps() -> None:
    objective = build_objective([TERMS.spec("nt_xent", queue=5)], {"image_1": "image", "image_2": "image"})
    queues = objective.initial_queues({"image_1": 3}, jax.random.key(0))
    first = {"embedding": {"image_1": jnp.eye(3), "image_2": -jnp.eye(3)}}
    batch = {"id": jnp.arange(3, dtype=jnp.uint32)}
    after = objective.enqueue(queues, first, batch)
    np.testing.assert_allclose(after["term_0"], jnp.concatenate([jnp.eye(3), queues["term_0"][:2]]), rtol=1e-6)
