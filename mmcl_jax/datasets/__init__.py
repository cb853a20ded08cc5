"""Named data sets: each turns its published files into the rows and image files that `prepare` reads."""

import ast
import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.datasets.cardiac.recipe import cardiac
from mmcl_jax.datasets.chest.covid_rural import covid_rural
from mmcl_jax.datasets.chest.mimic import mimic_cxr
from mmcl_jax.datasets.chest.ms_cxr import ms_cxr
from mmcl_jax.datasets.chest.nih_boxes import nih_boxes
from mmcl_jax.datasets.chest.object_cxr import object_cxr
from mmcl_jax.datasets.chest.rsna import rsna
from mmcl_jax.datasets.chest.siim import siim
from mmcl_jax.datasets.dvm.recipe import dvm
from mmcl_jax.datasets.fundus.downstream import aptos, palm, rfmid
from mmcl_jax.datasets.fundus.recipe import fundus
from mmcl_jax.datasets.measured import measured
from mmcl_jax.datasets.membranes import membranes
from mmcl_jax.datasets.mnist.pairs import mnist_svhn
from mmcl_jax.datasets.mnist.two_view import fashion_mnist, two_view_mnist
from mmcl_jax.datasets.multabench.recipe import multabench
from mmcl_jax.datasets.oasis.recipe import oasis
from mmcl_jax.datasets.tfds import tfds_images
from mmcl_jax.errors import UserError, check
from mmcl_jax.prepare.made import Made
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.registry import Registry

__all__ = ["RECIPES", "Made", "Recipe", "Step", "make"]

RECIPES = Registry("data set")
RECIPES.register("dvm")(dvm)
RECIPES.register("cardiac")(cardiac)
RECIPES.register("tfds")(tfds_images)
RECIPES.register("measured")(measured)
RECIPES.register("membranes")(membranes)
RECIPES.register("multabench")(multabench)
RECIPES.register("fundus")(fundus)
RECIPES.register("aptos")(aptos)
RECIPES.register("rfmid")(rfmid)
RECIPES.register("palm")(palm)
RECIPES.register("oasis")(oasis)
RECIPES.register("two_view_mnist")(two_view_mnist)
RECIPES.register("fashion_mnist")(fashion_mnist)
RECIPES.register("mnist_svhn")(mnist_svhn)
RECIPES.register("mimic_cxr")(mimic_cxr)
RECIPES.register("rsna")(rsna)
RECIPES.register("siim")(siim)
RECIPES.register("covid_rural")(covid_rural)
RECIPES.register("object_cxr")(object_cxr)
RECIPES.register("nih_boxes")(nih_boxes)
RECIPES.register("ms_cxr")(ms_cxr)


def make(name: str, root: Path | None, options: Sequence[str]) -> Recipe | Made:
    """Return the recipe of the data set `name` in the folder `root`, with options written as "key=value".

    Raises:
      UserError: an option is unknown or ill-typed, or the folder does not hold the data set.
    """
    if root is None:
        raise UserError(f"--root: this option is missing; give the folder of the data set {name!r}.")
    for option in options:
        check(
            option.partition("=")[0] != "label_as_feature",
            "--dataset.label_as_feature: a label becomes a feature in training, not in the store; leave the option "
            "out, and train with --config.inputs.table.label_as_feature=True.",
        )
    return dataclasses.replace(call(RECIPES, name, options, root=root), options=tuple(options))


def call(registry: Registry, name: str, options: Sequence[str], **arguments: Any) -> Any:
    """Call the factory `name` with options written as "key=value", and with further keyword arguments.

    Raises:
      UserError: an option is unknown or ill-typed.
    """
    factory = registry.factory(name)
    spec: dict[str, Any] = {"name": name}
    for option in options:
        key, equals, text = option.partition("=")
        check(bool(equals), f"--dataset.{option}: this option has no value; write --dataset.{key}=VALUE.")
        spec[key] = _value(text, typing.get_type_hints(factory).get(key))
    return registry.build(ConfigDict(spec, convert_dict=False), "--dataset", **arguments)


def _value(text: str, hint: Any) -> Any:
    """Return the value of a command-line text: a path if `hint` is `Path`, else a Python literal, else the text."""
    if Path in (hint, *typing.get_args(hint)):
        return Path(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
