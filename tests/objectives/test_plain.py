"""Terms called on plain arrays: each registered one, by arrays of any library, with presence, or with a sentence."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import mmcl_jax.objectives as objectives
from mmcl_jax.encoders import DECODERS
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import TERMS
from tests.foreign import Foreign

B, D = 8, 6
RNG = np.random.default_rng(0)
X, Y, P, Q = RNG.normal(size=(4, B, D)).astype(np.float32)
LOCAL = RNG.normal(size=(2, B, 3, D)).astype(np.float32)
ROWS = np.stack([RNG.normal(size=B), RNG.integers(0, 3, B), RNG.normal(size=B)], axis=1).astype(np.float32)
SEEN = np.where(RNG.random((B, 3)) < 0.5, ROWS[::-1], ROWS)
LABELS = np.array([0, 1, 2, -1, 0, 1, -1, 2], np.int64)
PRESENT = np.array([1, 0, 1, 1, 0, 1, 1, 1], bool)
TEXTS = np.arange(B * 4, dtype=np.int32).reshape(B, 2, 2) // 8
LOGITS = RNG.normal(size=(B, 3, 2)).astype(np.float32)
IMAGES = RNG.random((B, 32, 32, 1)).astype(np.float32)
PAIRS = {"logits": LOGITS[:, 1:], "present": np.ones((B, 2), bool)}
# Of a table of numbers: each row's sum of the losses of its masked cells, and their number; whether it has any.
SUMS = {"numbers": X[:, 0] ** 2, "numbers_entries": np.ones(B, np.float32), "counted": np.ones(B, np.float32)}

# Name of a call: (options, arrays, what else is given), as somebody would write it in a notebook.
CALLS: dict[str, tuple[dict[str, Any], tuple[Any, ...], dict[str, Any]]] = {
    "clip": ({"temperature": 0.5}, (X, Y), {}),
    "clip, text": ({"text": "ignore", "within": 4}, (X, Y), {"inputs": (None, TEXTS)}),
    "clip, eliminate": ({"labels": "eliminate"}, (X, Y), {"labels": LABELS}),
    "nt_xent": ({}, (X, Y), {}),
    "nt_xent, attract": ({"labels": "attract"}, (X, Y), {"labels": LABELS}),
    "supcon": ({}, (X, Y), {"labels": LABELS}),
    "siglip": ({}, (X, Y), {}),
    "barlow_twins": ({}, (X, Y), {}),
    "vicreg": ({}, (X, Y), {}),
    "byol": ({}, (), {"predictions": (X, Y), "teacher": (P, Q)}),
    "simsiam": ({}, (X, Y), {"predictions": (P, Q)}),
    "nnclr": ({"queue": 5}, (X, Y), {"predictions": (P, Q), "queue": RNG.normal(size=(5, D)).astype(np.float32)}),
    "supervised": ({"classes": 3}, (X,), {"labels": LABELS}),
    "supervised, logits": ({"classes": 3}, (), {"labels": LABELS, "each": X[:, :3]}),
    "multi_label": ({"labels": ("a", "b")}, (X,), {"targets": {"a": LABELS, "b": np.minimum(LABELS, 1)}}),
    "vime": ({"widths": (1, 3, 1)}, (X,), {"views": SEEN, "inputs": ROWS}),
    "local_alignment": ({}, tuple(LOCAL), {}),
    "pixpro": ({"between": ("image_1", "image_2")}, (X, Y), {"teacher": (P, Q)}),
    "reconstruction": ({"decoder": DECODERS.spec("dcgan", width=1)}, (X,), {"views": IMAGES}),
    "infomax": ({}, (X, LOCAL[0]), {}),
    "infomax, jsd": ({"estimator": "jsd", "critic": "dot"}, (X, LOCAL[0]), {}),
    "cca": ({}, (X, Y), {}),
    "supcon_dim": ({}, (X, Y), {"labels": LABELS}),
    "pixl": ({"classes": 3}, (X, Y), {"labels": LABELS}),
    "mmvae": ({}, (), {"each": X[:, 0]}),  # the bound of each row; the tests of the term have posteriors and decoders
    "mmvae_original": ({}, (), {"each": X[:, 0]}),
    "masked_table": ({"widths": (1, 1)}, (), {"each": SUMS}),
    "matching": ({}, (), {"each": {"own": LOGITS[:, 0]}, "pairs": PAIRS}),
}


def call(name: str, change: Callable[[Any], Any] = jnp.asarray) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
    """The term with its layers, and what it is called on, every array changed."""
    options, arrays, arguments = CALLS[name]
    term = getattr(objectives, name.partition(",")[0])(**options)
    if term.layers and arrays:
        shaped = {"views": arguments["views"]} if name == "reconstruction" else {}
        arguments = {**arguments, "layers": term.init(nnx.Rngs(0), *arrays, **shaped)}
    graph, state = nnx.split(arguments.get("layers", {}))
    rest = {key: value for key, value in arguments.items() if key != "layers"}

    def run(*arrays: Any, **given: Any) -> Any:
        layers = {"layers": nnx.merge(graph, state, copy=True)} if "layers" in arguments else {}  # some have statistics
        return term.with_metrics(*arrays, **given, **layers)

    return run, *jax.tree.map(change, (arrays, rest))


def test_every_registered_term_is_called_here_and_by_its_name() -> None:
    shipped = [name for name in TERMS.names() if TERMS.factory(name).__module__.startswith("mmcl_jax.")]  # not of tests
    assert {name.partition(",")[0] for name in CALLS} == set(shipped)
    for name in shipped:
        assert getattr(objectives, name) is TERMS.factory(name)
        assert ">>>" in inspect.getdoc(TERMS.factory(name))


@pytest.mark.parametrize("name", CALLS)
def test_a_term_takes_arrays_of_another_library_and_is_compiled_and_differentiated(name: str) -> None:
    term, arrays, arguments = call(name)
    compiled = jax.jit(jax.value_and_grad(lambda arguments: term(*arguments[0], **arguments[1]).value, allow_int=True))
    loss, gradient = compiled((arrays, arguments))
    assert loss.shape == ()
    assert np.isfinite(loss)
    gradients = [leaf for leaf in jax.tree.leaves(gradient) if leaf.dtype == jnp.float32]
    assert all(np.isfinite(leaf).all() for leaf in gradients)
    assert any(np.any(leaf != 0) for leaf in gradients)
    foreign, same_arrays, same_given = call(name, Foreign)
    traced = jax.eval_shape(lambda: foreign(*same_arrays, **same_given).value)  # the arrays are read, and none compiled
    assert (traced.shape, traced.dtype) == ((), loss.dtype)
    if name in ("clip, eliminate", "supervised, logits"):
        np.testing.assert_allclose(foreign(*same_arrays, **same_given).value, loss, rtol=1e-5)


@pytest.mark.parametrize("name", ["supervised", "vime", "local_alignment"])
def test_absent_rows_change_no_term_with_layers_whatever_they_hold(name: str) -> None:
    term, arrays, arguments = call(name)
    compiled = jax.jit(jax.value_and_grad(lambda a, g, present: term(*a, **g, present=present).value))

    def spoiled(array: jax.Array) -> jax.Array:
        rows = jnp.asarray(PRESENT).reshape(-1, *[1] * (array.ndim - 1))
        return jnp.where(rows, array, jnp.nan) if array.dtype == jnp.float32 else array

    loss, gradient = compiled(*jax.tree.map(spoiled, (arrays, arguments)), jnp.asarray(PRESENT))
    few, fewer = jax.tree.map(lambda array: array[np.flatnonzero(PRESENT)], (arrays, arguments))
    np.testing.assert_allclose(loss, compiled(few, fewer, None)[0], rtol=1e-5)
    for leaf in gradient:
        assert np.any(np.asarray(leaf) != 0)
        np.testing.assert_array_equal(np.asarray(leaf)[~PRESENT], 0)


def test_a_call_gives_the_loss_and_with_metrics_more() -> None:
    term = objectives.clip(temperature=0.5, weight=3.0)  # the weight is the objective's
    actual = term.with_metrics(X, Y)
    assert term(X, Y) == actual.value
    assert set(actual.metrics) == {"top1", "top1_back"}
    learned = jax.grad(lambda scalars: objectives.siglip()(X, Y, learned=scalars))
    assert np.all(list(learned({"log_scale": jnp.float32(2.0), "bias": jnp.float32(-5.0)}).values()))


BAD = [
    ("clip", (X,), {}, "clip takes 2 arrays of embeddings [rows, width], not 1."),
    ("clip", (X, Y[:4]), {}, "arrays[1] has 4 rows and arrays[0] has 8; give the same rows."),
    ("clip", (X, Y[:, :3]), {}, "of one shape, not (8, 6) and (8, 3)."),
    ("clip", (X, LOCAL[0]), {}, "of one shape, not (8, 6) and (8, 3, 6)."),
    ("clip", (LABELS, LABELS), {}, "embeddings is an array of int"),
    ("clip", (X.tolist(), Y), {}, "arrays[0] is of the type list; give an array"),
    ("clip", (X, Y.astype(object)), {}, "arrays[1] is a NumPy array of object"),
    ("clip", (X, Y), {"labels": LABELS}, "clip reads no labels; leave labels out."),
    ("clip", (X, Y), {"predictions": (P, Q)}, "clip does not read predictions; leave it out."),
    ("clip", (X, Y), {"queue": P}, "clip does not read queue; leave it out."),
    ("clip", (X, Y), {"present": PRESENT[:3]}, "present has 3 rows and arrays[0] has 8"),
    ("clip", (X, Y), {"present": X[:, 0]}, "present is float32 (8,); give one boolean for each row."),
    ("clip", (X, Y), {"execution": "sparse"}, "there is no execution 'sparse'; choose from dense, gathered, ring."),
    ("clip", (), {}, "the term got no array"),
    ("supcon", (X, Y), {}, "supcon reads labels; give labels="),
    ("supcon", (X, Y), {"labels": X[:, 0]}, "labels are float32 (8,); give one integer for each row"),
    ("supcon", (X, Y), {"labels": LABELS[:5]}, "labels['label'] has 5 rows and arrays[0] has 8"),
    ("byol", (X, Y), {"predictions": (P, Q), "teacher": (P, Q)}, "byol does not read arrays"),
    ("byol", (), {"predictions": (P, Q)}, "byol takes 2 arrays of teacher [rows, width], not 0."),
    ("nnclr", (X, Y), {"predictions": (P, Q)}, "nnclr reads a queue; give queue="),
    ("supervised", (X,), {"labels": LABELS}, "supervised has layers of its own; give layers=, as its method init"),
    (
        "vime",
        (X,),
        {"layers": {}},
        "vime compares rows before and after their corruption; give them as inputs= and views=.",
    ),
    ("clip", (X, Y), {"pairs": X}, "clip does not read pairs; leave it out."),
    ("clip", (X, Y), {"learned": {"log_scale": 2.0}}, "clip learns nothing, not log_scale."),
    ("local_alignment", (X[:, 0], X[:, 0]), {"layers": {}}, "features have the shape (8,)"),
]


@pytest.mark.parametrize(("name", "arrays", "arguments", "sentence"), BAD, ids=[sentence for *_, sentence in BAD])
def test_what_does_not_fit_is_refused_in_a_sentence(name: str, arrays: Any, arguments: Any, sentence: str) -> None:
    options = {"supervised": {"classes": 3}, "vime": {"widths": (1, 3, 1)}}.get(name, {})
    with pytest.raises(UserError) as raised:
        getattr(objectives, name)(**options)(*arrays, **arguments)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.foreign
def test_a_tensor_that_has_a_gradient_is_refused_and_strides_are_read() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(UserError, match="give a detached, contiguous array"):
        objectives.clip()(torch.from_numpy(X).requires_grad_(), Y)
    wide = torch.from_numpy(np.repeat(X, 2, axis=1))[:, ::2]
    assert objectives.clip()(wide, Y) == objectives.clip()(X, Y)
    half = objectives.clip()(torch.from_numpy(X).bfloat16(), jnp.asarray(Y, jnp.bfloat16))
    np.testing.assert_allclose(half, objectives.clip()(X, Y), rtol=0.05)
