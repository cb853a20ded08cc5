"""Programs in ONNX give in onnxruntime what the run gives."""

import dataclasses
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export, lax

from mmcl_jax.encoders import ENCODERS
from mmcl_jax.errors import UserError
from mmcl_jax.export import formats
from mmcl_jax.export.programs import onnx_file
from mmcl_jax.export.programs.agreement import expected_outputs, random_rows, relative_difference
from mmcl_jax.export.programs.program import Program, programs_of
from mmcl_jax.export.release import release_of
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model
from tests.export.test_torch_heads import HEADS, head_of
from tests.export.untrained import drawn

pytestmark = pytest.mark.foreign
BOUND = 1e-5  # the promise is 1e-4


@pytest.fixture(scope="module", autouse=True)
def ort() -> Any:
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


def in_onnxruntime(ort: Any, model: Any, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnx

    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, rows), strict=True))


def translated(function: Any, rows: dict[str, np.ndarray], *, wide: bool = False) -> Any:
    """The ONNX model of a function from a dict of arrays to a dict of arrays."""
    from mmcl_jax.export.programs.onnx.convert import onnx_model

    (count,) = export.symbolic_shape("b")
    with jax.enable_x64(wide):
        shapes = {name: jax.ShapeDtypeStruct((count, *one.shape[1:]), one.dtype) for name, one in rows.items()}
        jaxpr, outputs = jax.make_jaxpr(function, return_shape=True)(shapes)
    return onnx_model(jaxpr, sorted(rows), sorted(outputs), name="function")


# Encoders that cannot become PyTorch modules, so that the run with every other encoder has none of them.
POSTERIORS = {
    "laplace_mlp": ({"hidden": 8}, (5, 6, 1)),
    "laplace_conv": ({"width": 2}, (32, 32, 3)),
    "laplace_dcgan": ({"width": 2, "features": 6}, (32, 32, 1)),
}


def test_every_encoder_is_tried(every_run: Run) -> None:
    ours = {name for name in ENCODERS.names() if ENCODERS.factory(name).__module__.startswith("mmcl_jax.")}
    tried = {spec.name for spec in every_run.config.encoders.values()} | set(POSTERIORS)
    assert ours == tried | {"resnet50", "vit_base", "vit_small"}


@pytest.mark.parametrize("name", POSTERIORS)
def test_the_mean_of_a_posterior(ort: Any, name: str) -> None:
    options, shape = POSTERIORS[name]
    encoder = ENCODERS.build(ENCODERS.spec(name, **options), name, shape=shape, rngs=nnx.Rngs(0))
    graph, *arrays = nnx.graphdef(encoder), *split_model(encoder)
    rows = {"view": np.random.default_rng(0).uniform(0, 1, (3, *shape)).astype(np.float32)}

    def pooled(rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {"mean": nnx.merge(graph, *arrays)(rows["view"], train=False).pooled}

    found = in_onnxruntime(ort, translated(pooled, rows), rows)
    assert relative_difference(found["mean"], jax.jit(pooled)(rows)["mean"]) < BOUND


def test_every_encoder_and_projector(ort: Any, every_run: Run) -> None:
    programs = programs_of(release_of(every_run))
    assert {name for one in programs for name in one.outputs} == {"features", "projection", "projection_pgs"}
    rows = {one.name: random_rows(one, every_run.inputs, 5) for one in programs}
    with jax.enable_x64(True):
        expected = jax.jit(lambda rows: {one.name: one.function(rows[one.name]) for one in programs})(rows)
    for one in programs:
        found = in_onnxruntime(ort, onnx_file.model_of(one), rows[one.name])
        assert set(found) == set(one.outputs)
        for name, array in found.items():
            assert np.abs(array).max() > 0.1
            assert relative_difference(array, expected[one.name][name]) < BOUND, (one.name, name)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_at_odd_and_even_sizes(ort: Any, name: str) -> None:
    """Random statistics, and a batch that is all negative, where a padding of 0 would win every maximum."""
    encoder = nnx.eval_shape(
        lambda: ENCODERS.build(ENCODERS.spec(name, width=1 / 32), name, shape=(64, 64, 3), rngs=nnx.Rngs(0))
    )
    graph, rng = nnx.graphdef(encoder), np.random.default_rng(0)
    arrays = [jax.tree.map(jnp.asarray, drawn(tree, rng)) for tree in split_model(encoder)]
    sides = (32, 33, 63, 64)
    images = {f"side{side}": -rng.uniform(0, 1, (2, side, side, 3)).astype(np.float32) for side in sides}

    def pooled(images: dict[str, jax.Array]) -> dict[str, jax.Array]:
        encode = nnx.merge(graph, *arrays)
        return {f"of {side}": encode(batch, train=False).pooled for side, batch in images.items()}

    found = in_onnxruntime(ort, translated(pooled, images), images)
    for name, features in jax.jit(pooled)(images).items():
        assert relative_difference(found[name], features) < BOUND, name


@pytest.mark.parametrize("name", ["probe", "fine-tuned", "mask"])
def test_heads(name: str, ort: Any, every_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    head = head_of(every_run, **HEADS[name])
    (program,) = programs_of(release_of(every_run, head=head))
    rows = random_rows(program, every_run.inputs, 5)
    found = in_onnxruntime(ort, onnx_file.model_of(program), rows)["prediction"]
    assert relative_difference(found, head.outputs(rows)) < BOUND  # whose inputs are no tables


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_any_number_of_rows(count: int, ort: Any, every_run: Run, sessions: dict) -> None:
    for program, session, expected in sessions.values():
        rows = random_rows(program, every_run.inputs, 1000)
        (found,) = session.run(["features"], {name: array[:count] for name, array in rows.items()})
        assert found.shape == (count, *program.outputs["features"])
        np.testing.assert_allclose(found, expected[:count], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def sessions(ort: Any, every_run: Run) -> dict[str, tuple[Program, Any, np.ndarray]]:
    """Of a fusion by attention, whose products have no rows either, and of a table."""
    made = {}
    for program in programs_of(release_of(every_run, inputs=("attended", "table"))):
        model = onnx_file.model_of(program)
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        expected = program(random_rows(program, every_run.inputs, 1000))["features"]
        made[program.name] = program, session, expected
    return made


def test_rows_with_several_images(ort: Any, every_run: Run) -> None:
    """The features are the mean over the images, each of them fused with the other parts of its row."""
    specs = dict(every_run.inputs.specs)
    specs["right"] = dataclasses.replace(specs["right"], shape=(2, *specs["right"].shape))
    run = dataclasses.replace(every_run, inputs=dataclasses.replace(every_run.inputs, specs=specs))
    release = release_of(run, inputs=("attended",))
    (program,) = programs_of(release)
    rows = random_rows(program, run.inputs, 3)
    assert rows["right"].ndim == 5
    found = in_onnxruntime(ort, onnx_file.model_of(program), rows)["features"]
    assert relative_difference(found, expected_outputs(release, program, rows)["features"]) < BOUND


def test_a_row_that_the_run_refuses_is_nan(ort: Any, every_run: Run) -> None:
    (program,) = programs_of(release_of(every_run, inputs=("pgs",)))
    rows = random_rows(program, every_run.inputs, 4)
    rows["pgs"][1, 2] = np.nan  # config.inputs.pgs.missing is "refuse"
    for outputs in (in_onnxruntime(ort, onnx_file.model_of(program), rows), program(rows)):
        assert np.isnan(outputs["features"]).all(axis=1).tolist() == [False, True, False, False]
        assert np.isnan(outputs["features"]).any(axis=1).tolist() == [False, True, False, False]


def primitives(rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """What no encoder of ours computes, or only in one way."""
    x, n, flag = rows["x"], rows["n"], rows["x"] > 0
    table = jnp.arange(12, dtype=jnp.float32).reshape(4, 3)
    loop = lax.scan(
        lambda carry, step: (carry * step[None] + 1, None), x[:, 0], np.arange(6.0, dtype=np.float32).reshape(3, 2)
    )
    return {
        "unary": jnp.stack(
            [f(jnp.abs(x) + 0.5) for f in (jnp.log, jnp.sqrt, lax.rsqrt, jnp.log1p, jnp.square, jnp.floor, jnp.ceil)]
            + [f(x) for f in (jnp.sign, jnp.tanh, jax.nn.sigmoid, jnp.expm1, lax.erf, lax.erfc, jnp.sin, jnp.cos)]
            + [f(x) for f in (jnp.rint, jax.nn.gelu, jax.nn.softplus, jax.nn.silu, lambda x: x**3)],
            axis=1,
        ),
        "binary": jnp.concatenate([x % 0.7, jnp.maximum(x, -lax.rev(x, (1,))), jnp.abs(x) ** x], axis=1),
        "limited": jnp.clip(x, -0.5, 0.5) + lax.clamp(jnp.float32(-1), x, jnp.float32(1)),
        "logic": jnp.where((flag & (x < 1)) ^ ~(flag | jnp.isfinite(x)), x, jnp.float32(2)),
        "chosen": jnp.where(flag, flag, n[:, :, None] > 1).astype(jnp.int32),
        "reduced": jnp.stack([getattr(x, name)((1, 2)) for name in ("sum", "max", "min", "prod", "var")], axis=1),
        "any": jnp.stack([flag.any(2), flag.all(2)], axis=1),
        "order": jnp.concatenate([x.argmax(2), x.argmin(2), n], axis=1),
        "taken": table[n],
        "running": jnp.cumsum(x, axis=1) + lax.cumsum(x, axis=2, reverse=True),
        "counted": jnp.cumsum(n, axis=1),
        "along": jnp.take_along_axis(x, jnp.stack([n, n - 1], axis=2), axis=1, mode="clip"),
        "clipped": jnp.take(table, n * 3 - 2, axis=0, mode="clip"),
        "filled": jnp.take(table.T, n * 3 - 2, axis=1, mode="fill").transpose(1, 0, 2),
        "columns": x[:, :, np.array([1, 0, 1])],
        "one": x[..., 1],
        "tiled": jnp.tile(x, (1, 2, 3)) + lax.tile(x, (1, 2, 3)),
        "apart": jnp.concatenate(jnp.unstack(x, axis=1), axis=1),
        "moved": jnp.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=3).transpose(0, 2, 1),
        "backwards": lax.slice_in_dim(lax.rev(x, (1,)), 0, 3, 2, axis=1),
        "parts": jnp.concatenate(jnp.split(x, [1], axis=1)[::-1], axis=1),
        "products": jnp.einsum("bij,bkj->bik", x, x) + jnp.einsum("bij,bji->b", x, x.transpose(0, 2, 1))[:, None, None],
        "loop": loop[0],
        "pooled": lax.reduce_window(x, 0.0, lax.add, (1, 2, 1), (1, 1, 1), ((0, 0), (1, 0), (0, 0))),
        "whole": x.astype(jnp.int32) // 2 + n[:, :, None],
        "wide": jnp.broadcast_to(jnp.float32(1), x.shape),
    }  # fmt: skip


def rounded(rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """What has fewer bits. Compiled, XLA keeps more of them between operators, so JAX computes one after the other."""
    narrow = rows["x"].astype(jnp.bfloat16)
    return {
        "bfloat16": (narrow * narrow + narrow).astype(jnp.float32),
        "float16": (rows["x"].astype(jnp.float16) + jnp.float16(0.1)).astype(jnp.float32),
    }


def test_types_of_fewer_bits(ort: Any) -> None:
    rows = {"x": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    found = in_onnxruntime(ort, translated(rounded, rows), rows)
    for name, array in rounded(jax.tree.map(jnp.asarray, rows)).items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_primitives(ort: Any) -> None:
    rng = np.random.default_rng(0)
    rows = {
        "x": rng.normal(size=(4, 3, 2)).astype(np.float32) * 2,
        "n": rng.integers(0, 4, (4, 3)).astype(np.int32),
    }
    found = in_onnxruntime(ort, translated(primitives, rows), rows)
    for name, array in jax.jit(primitives)(rows).items():
        assert found[name].shape == array.shape, name
        np.testing.assert_allclose(found[name], array, rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda rows: {"y": jnp.sort(rows["x"], axis=1)}, "it computes 'sort'"),
        (lambda rows: {"y": jnp.cumprod(rows["x"], axis=1)}, "it computes 'cumprod'"),
        (lambda rows: {"y": rows["x"].astype(jnp.int8)}, "it converts float32 to int8"),
        (lambda rows: {"y": lax.bitwise_and(rows["x"].astype(jnp.int32), jnp.int32(3))}, "the bits of int32"),
    ],
)
def test_what_has_no_form_is_refused(function: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        translated(function, {"x": np.ones((2, 3), np.float32)})


def test_the_extra_is_named_when_it_is_missing(every_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="the package onnx is not installed; run pip install 'mmcl_jax\\[onnx\\]'"):
        formats.format_of("onnx").check_release(release_of(every_run, inputs=("table",)))
