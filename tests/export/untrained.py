"""A run of every kind of input and encoder that nobody trained: its weights and statistics are drawn at random.

Training compiles a program, which takes long; a checkpoint of drawn weights is as good to export, and better: no
statistic keeps its initial 0 or 1, and no bias its 0.
"""

import contextlib
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from examples.cohort import draw
from mmcl_jax.config import encoder, experiment, input, projector, term, view
from mmcl_jax.data.store import Store
from mmcl_jax.encoders.torch_names import Arrays
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request
from mmcl_jax.training.build import fit_inputs
from mmcl_jax.training.runs.checkpoint import Checkpoints
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.skips import Skipped
from mmcl_jax.training.state.model import trained_model
from mmcl_jax.training.state.train_state import TrainState, split_model

STEP = 7


def drawn(tree: Arrays, rng: np.random.Generator) -> Arrays:
    """Random values in the shapes of a tree: variances and scales around 1, all else around 0."""

    def values(path: tuple, like: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.5, 1.5, like.shape).astype(like.dtype)
        fan = np.prod(like.shape[:-1]) if path[-1].key == "kernel" else 4
        return (rng.normal(size=like.shape) / np.sqrt(fan)).astype(like.dtype)

    return jax.tree_util.tree_map_with_path(values, tree)


def untrained_run(config: ConfigDict, store: Store, folder: Path) -> Run:
    """A run with one checkpoint, of drawn weights; with other averages if the config averages weights."""
    run = Run.begin(folder, config, store, fit_inputs(config, store))
    abstract = nnx.eval_shape(lambda: trained_model(config, run.schema, run.inputs.specs, rngs=nnx.Rngs(0)))
    # Generators of their own, so that parameters of another encoder change no statistics.
    rng, other = np.random.default_rng(0), np.random.default_rng(1)
    params, model_state = (drawn(tree, of) for tree, of in zip(split_model(abstract), (rng, other), strict=True))
    averages = {"params": drawn(params, rng), "model_state": drawn(model_state, rng)}
    state = TrainState(
        step=np.int32(STEP),
        params=params,
        model_state=model_state,
        optimizer_state={"count": np.int32(0)},
        target={},
        queues={},
        average=averages if config.average.kind else {},
    )
    with contextlib.closing(Checkpoints(run.checkpoints, keep=1)) as checkpoints:
        state = jax.tree.map(jax.numpy.asarray, state)
        checkpoints.save(STEP, state, data={"position": 0}, seconds=0.0, skipped=Skipped())
    return run


def cohort(folder: Path) -> Store:
    """The store of `examples/cohort.py`, in which every row has every entry."""
    raw = draw(folder)
    return prepare(Request(**{**raw, "cohort": "inner", "split": tuple(raw["split"])}), folder / "store")


def everything(store: Store) -> ConfigDict:
    """An experiment with an encoder of every kind: images, volumes, a table, vectors, a text and fusions."""
    config = experiment()
    config.name, config.data = "every | <kind>", str(store.directory)
    config.batch_size, config.batch_norm.group_size = 8, 8
    config.inputs = {name: input() for name in ("image", "right", "scan", "table", "pgs", "snps", "report")}
    config.inputs.patches = input(of="image")
    config.inputs.square, config.inputs.cube = input(of="image"), input(of="scan")
    config.inputs.words, config.inputs.zones = input(of="report"), input(of="right")
    config.inputs.sentences = input(of="report")
    config.inputs.table.missing = "token"
    config.inputs.snps.missing, config.inputs.snps.scale = "mode", "none"
    config.inputs.columns = input(of="table", missing="indicator")
    config.inputs.cells = input(of="table", missing="token")
    config.views = {
        "image": view("augment", size=(21, 33)),
        "patches": view("resized", modality="patches", size=(16, 24)),
        "square": view("resized", modality="square", size=(32, 32)),
        "cube": view("resized_volume", modality="cube", size=(32, 32, 32)),
        "right": view("resized", modality="right"),
        "scan": view("resized_volume", modality="scan", size=(3, 7, 5)),
        "table": view("scarf"),
        "columns": view("rows", modality="columns"),
        "cells": view("rows", modality="cells"),
        "pgs": view("vector", modality="pgs"),
        "snps": view("vector_scarf", modality="snps"),
        "report": view("tokens", modality="report"),
        "words": view("tokens", modality="words"),
        "zones": view("resized", modality="zones"),
        "sentences": view("report", modality="sentences", max_tokens=6, special_tokens=False),
        "mixed": view("fused", modality="mixed", of=("image.local", "table")),
        "mixed_rows": view("fused", modality="mixed", of=("image.local", "table_rows")),
        "table_rows": view("rows"),
        "attended": view("fused", modality="attended", of=("right.local", "pgs", "report.local")),
        "looked": view("fused", modality="looked", of=("right.local", "pgs")),
        "greatest": view("fused", modality="greatest", of=("right.local", "pgs")),
        "scaled": view("fused", modality="scaled", of=("right.local", "snps")),
        "shifted": view("fused", modality="shifted", of=("right.local", "report.local")),
    }
    config.encoders = {
        "image": encoder("resnet18", width=1 / 16),
        "patches": encoder("vit", width=8, depth=2, heads=2),
        "square": encoder("dcgan", width=2, features=6),
        "cube": encoder("dcgan", width=1, features=4, local_side=4),
        "right": encoder("cnn", channels=(4, 8)),
        "scan": encoder("cnn3d", channels=(4, 8)),
        "table": encoder("table_mlp", hidden=16, features=8, layers=3),
        "columns": encoder("resnet1d_cbam", channels=4, depths=(1, 1), reduction=2, order=1),
        "cells": encoder("table_transformer", width=8, heads=2, blocks=1, numbers="piecewise", bins=4),
        "pgs": encoder("vector_mlp", hidden=16, features=16),
        "snps": encoder("genetics_mlp", hidden=8, layers=2),
        "report": encoder("text_embedding", features=6),
        "words": encoder("text_embedding", features=6, pooling="attention", pooling_heads=2, pooling_mean="length"),
        "zones": encoder("cnn", channels=(4, 8), depths=(2, 1), pooling="attention", pooling_heads=4),
        "sentences": encoder("bert", layers=2, width=8, heads=2, positions=10, frozen_layers=None, sentences=3),
        "mixed": encoder("concat_mlp", hidden=8, features=8),
        "attended": encoder("cross_attention", width=8, heads=2, blocks=2, form="symmetric"),
        "looked": encoder("cross_attention", width=16, heads=2, blocks=1, pool="first"),
        "greatest": encoder("max", features=16),
        "scaled": encoder("mul"),
        "shifted": encoder("daft", reduction=2),
    }
    config.projectors = {
        "image": projector("mlp", hidden=8, out=4),
        "table": projector("linear", out=4),
        "image:pgs": projector("mlp_norm", hidden=(8, 6), out=4, out_norm=True),
        "image.local": projector("mlp_norm", hidden=(8,), out=4, out_bias=True),
        "right": projector("identity"),
        "square": projector("latent_mlp", hidden=8, out=4),
        "cube.local": projector("local_shortcut", hidden=8, out=4),
        "words": projector("lovt_mlp", hidden=8, out=4, normalise="none"),
        "zones.local": projector("lovt_mlp", hidden=8, out=4),
    }
    config.objective = (term("clip", between=("image", "table")),)
    return config
