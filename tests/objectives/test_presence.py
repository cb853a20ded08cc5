"""Rows that are absent change no term: neither value, nor metrics, nor gradients, whatever they hold."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.objectives import TERMS, Loss, Term, build_objective
from mmcl_jax.objectives.collapse import spread
from mmcl_jax.objectives.objective import Objective

B, D = 12, 5
PRESENT = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1], bool)
NAMES = [
    *[(name, {"labels": labels}) for name in ("clip", "nt_xent") for labels in ("ignore", "eliminate", "attract")],
    ("clip", {"denominator": "negatives", "learn_temperature": True}),
    *[(name, {}) for name in ("siglip", "barlow_twins", "vicreg", "byol", "simsiam", "supervised", "vime")],
    ("nnclr", {"queue": 7}),
]


def built(name: str, options: dict[str, Any]) -> Term:
    return TERMS.build(TERMS.spec(name, **options), "", classes=3, widths=(1, 3, 1))


def arrays(term: Term) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the model makes for a term, and what else it is given, of B rows."""
    rng = np.random.default_rng(0)

    def pair() -> tuple[np.ndarray, ...]:
        return tuple(rng.normal(size=(B, D)).astype(np.float32) for _ in term.between)

    fields = {"embedding": "embeddings", "prediction": "predictions", "teacher": "teacher"}
    made: dict[str, Any] = {fields[kind]: pair() for kind in term.outputs}
    if term.name == "supervised":
        made = {"each": rng.normal(size=(B, 3)).astype(np.float32)}
    if term.name == "vime":
        row = np.stack([rng.normal(size=B), rng.integers(0, 3, B), rng.normal(size=B)], axis=1).astype(np.float32)
        row[2, 0] = np.nan
        view = np.where(rng.random((B, 3)) < 0.5, row[::-1], row)
        made = {"each": {"head": rng.normal(size=(B, 8)).astype(np.float32), "view": view, "row": row}}
    label = rng.integers(-1, 3, B).astype(np.int32)
    arguments: dict[str, Any] = {"ids": np.arange(B, dtype=np.uint32), "targets": {"label": label}}
    if term.queue:
        queue = rng.normal(size=(term.queue, D)).astype(np.float32)
        arguments["queue"] = queue / np.linalg.norm(queue, axis=1, keepdims=True)
    return made, arguments


def rows(tree: Any, index: np.ndarray) -> Any:
    return jax.tree.map(lambda array: array[index], tree)


def with_gradient(term: Term) -> Any:
    """A compiled function of (what the model made, what else is given, rows that are present): loss and gradients."""

    def value(made: Any, arguments: Any, present: Any) -> tuple[jax.Array, Loss]:
        fields = {name: part for name, part in made.items() if name != "embeddings"}
        loss = term.with_metrics(*made.get("embeddings", ()), **fields, **arguments, present=present)
        return loss.value, loss

    return jax.jit(jax.grad(value, has_aux=True))


@pytest.mark.parametrize(("name", "options"), NAMES, ids=str)
def test_a_batch_with_absent_rows_is_the_batch_without_them(name: str, options: dict[str, Any]) -> None:
    term = built(name, options)
    made, arguments = arrays(term)
    compiled, index = with_gradient(term), np.flatnonzero(PRESENT)
    fewer = {key: part if key == "queue" else rows(part, index) for key, part in arguments.items()}
    by_expected, expected = compiled(rows(made, index), fewer, None)
    arguments["ids"] = np.where(PRESENT, arguments["ids"], np.uint32(0))  # padding repeats an id, and a class
    arguments["targets"] = {"label": np.where(PRESENT, arguments["targets"]["label"], np.int32(1))}
    counted = (arguments["targets"]["label"] >= 0) & PRESENT if name == "supervised" else PRESENT
    for junk in (np.nan, 1e30, -127.0):
        gradients, actual = compiled(filled(made, junk, PRESENT), arguments, PRESENT)
        np.testing.assert_allclose(actual.value, expected.value, rtol=2e-6)
        assert actual.metrics.keys() == expected.metrics.keys()
        for metric, value in expected.metrics.items():
            np.testing.assert_allclose(actual.metrics[metric], value, rtol=2e-6, err_msg=metric)
        assert float(actual.rows) == counted.sum()
        for gradient, reference in zip(jax.tree.leaves(gradients), jax.tree.leaves(by_expected), strict=True):
            np.testing.assert_allclose(gradient[index], reference, rtol=2e-5, atol=2e-6)
            np.testing.assert_array_equal(gradient[~PRESENT], 0)
    nobody = np.zeros(B, bool)
    gradients, actual = compiled(filled(made, np.nan, nobody), arguments, nobody)
    assert actual.value == 0
    assert actual.rows == 0
    assert all(np.isfinite(value) for value in actual.metrics.values())
    for gradient in jax.tree.leaves(gradients):
        np.testing.assert_array_equal(gradient, 0)


def filled(made: Any, junk: float, present: np.ndarray) -> Any:
    """The arrays with something in the rows that are absent."""
    return jax.tree.map(
        lambda array: np.where(present.reshape(-1, *[1] * (array.ndim - 1)), array, np.float32(junk)), made
    )


@pytest.mark.parametrize("labels", ["eliminate", "attract"])
@pytest.mark.parametrize("name", ["clip", "nt_xent"])
def test_rows_without_a_label_are_not_one_class(name: str, labels: str) -> None:
    """Half of the labels are missing: they are as so many classes of one row."""
    rng = np.random.default_rng(0)
    label = np.array([0, -1, 1, -1, 0, -1, 1, -1], np.int32)
    apart = np.array([0, 10, 1, 11, 0, 12, 1, 13], np.int32)
    x, y = (jnp.asarray(rng.normal(size=(8, D)), jnp.float32) for _ in range(2))
    value = jax.jit(lambda label: built(name, {"labels": labels})(x, y, targets={"label": label}))
    np.testing.assert_allclose(value(label), value(apart), rtol=1e-6)
    assert abs(value(label) - value(np.where(label < 0, 2, label).astype(np.int32))) > 1e-3


def objective(*, normalise: str | None = None) -> Objective:
    specs = [
        TERMS.spec("clip", between=("image", "table"), weight=2.0),
        TERMS.spec("barlow_twins", between=("image", "scores")),
    ]
    modalities = {"image": "image", "table": "table", "scores": "scores"}
    return build_objective(specs, modalities, normalise=normalise)


def batch_of(**present: np.ndarray) -> dict[str, jax.Array]:
    masks = {f"present/{name}": jnp.asarray(rows) for name, rows in present.items()}
    return {"id": jnp.arange(B, dtype=jnp.uint32), **masks}


EMBEDDINGS = {
    "embedding": {
        name: jnp.asarray(np.random.default_rng(seed).normal(size=(B, D)), jnp.float32)
        for seed, name in enumerate(("image", "table", "scores"))
    }
}


def test_each_term_has_the_rows_that_have_all_it_reads() -> None:
    some = np.arange(B) % 3 > 0
    batch = {**batch_of(table=PRESENT, scores=some), "valid": jnp.asarray(np.arange(B) < 11)}
    total, metrics = jax.jit(objective())(EMBEDDINGS, batch)
    valid = np.arange(B) < 11
    assert float(metrics["clip/image-table/rows"]) == (PRESENT & valid).sum()
    assert float(metrics["barlow_twins/image-scores/rows"]) == (some & valid).sum()
    np.testing.assert_allclose(total, 2 * metrics["clip/image-table"] + metrics["barlow_twins/image-scores"], rtol=1e-6)
    here = spread(EMBEDDINGS["embedding"]["table"][np.flatnonzero(PRESENT & valid)])
    for name, value in here.items():
        np.testing.assert_allclose(metrics[f"{name}/table"], value, rtol=1e-5)


@pytest.mark.parametrize(("table", "divisor"), [(True, 3.0), (False, 1.0)])
def test_a_sum_is_divided_by_the_weights_of_terms_that_have_rows(table: bool, divisor: float) -> None:
    batch = batch_of(table=np.full(B, table))
    plain, metrics = jax.jit(objective())(EMBEDDINGS, batch)
    present = jax.jit(objective(normalise="present"))
    divided, _ = present(EMBEDDINGS, batch)
    np.testing.assert_allclose(divided, plain / divisor, rtol=1e-6)
    if not table:
        assert metrics["clip/image-table"] == metrics["clip/image-table/rows"] == 0
        assert np.isnan(metrics["rank/table"])  # nothing is known of a view that nobody has
    nobody = batch_of(table=np.zeros(B, bool), scores=np.zeros(B, bool))
    assert present(EMBEDDINGS, nobody)[0] == 0


def test_where_nothing_can_be_absent_nothing_is_counted() -> None:
    _, metrics = jax.jit(objective())(EMBEDDINGS, batch_of())
    assert not [name for name in metrics if name.endswith("/rows")]


def test_absent_rows_do_not_enter_the_queue() -> None:
    spec = TERMS.spec("nnclr", between=("a", "b"), queue=6)
    made = build_objective([spec], {"a": "image", "b": "scores"})
    queues = {"term_0": jnp.eye(6)[:, :D]}
    embeddings = {"a": EMBEDDINGS["embedding"]["image"], "b": EMBEDDINGS["embedding"]["table"]}
    for present, kept in ((np.arange(B) >= 8, 4), (PRESENT, 6), (np.zeros(B, bool), 0)):
        rows_present = np.flatnonzero(present)[:kept]
        unit = np.asarray(embeddings["a"])[rows_present]
        expected = np.concatenate([unit / np.linalg.norm(unit, axis=1, keepdims=True), np.eye(6)[:, :D]])[:6]
        spoiled = {name: jnp.where(jnp.asarray(present)[:, None], array, jnp.nan) for name, array in embeddings.items()}
        actual = made.enqueue(queues, {"embedding": spoiled}, batch_of(scores=present))
        np.testing.assert_allclose(actual["term_0"], expected, rtol=1e-5)


def test_equal_terms_have_names_of_their_own() -> None:
    specs = [TERMS.spec("clip", temperature=temperature) for temperature in (0.1, 0.5)]
    made = build_objective(specs, {"image": "image", "table": "table", "scores": "scores"})
    _, metrics = jax.jit(made)(EMBEDDINGS, batch_of())
    assert list(made.names.values()) == ["clip/image-table", "clip_2/image-table"]
    assert metrics["clip/image-table"] != metrics["clip_2/image-table"]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            TERMS.spec("clip", between=("image", "tabel")),
            r"0.between: there is no view 'tabel' \(did you mean 'table'\?\); config.views has image",
        ),
        (TERMS.spec("clip", between=("image", "table:")), r"between: 'table:' is not VIEW, VIEW.local, VIEW"),
        (TERMS.spec("clip", between=("image.local", "table")), r"'image.local' is local, and the term 'clip'"),
        (
            TERMS.spec("supervised", between=("image:pgs",)),
            r"'supervised' reads features before any head",
        ),
        (
            TERMS.spec("byol", between=("image", "table:none")),
            r"'table:none' has no head, and the term 'byol'",
        ),
        (
            TERMS.spec("clip", labels="attract", target="colour"),
            r"0.target: there is no class label 'colour'",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(spec: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build_objective([spec], {"image": "image", "table": "table"})
