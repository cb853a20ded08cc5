"""Check that hidden cells of a table reach an encoder that can replace them."""

import inspect
import typing
from collections.abc import Mapping

from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.data.table.encoding import REPLACED_POLICIES
from mmcl_jax.encoders import ENCODERS
from mmcl_jax.encoders.fusions import parts_of_views
from mmcl_jax.encoders.model import takes
from mmcl_jax.errors import check
from mmcl_jax.views import VIEWS


def check_hidden(config: ConfigDict, specs: Mapping[str, InputSpec]) -> None:
    """Check that every view that hides cells (`View.hides`) has an encoder that replaces them.

    A hidden cell is NaN, as a missing cell is with the policies of `REPLACED_POLICIES`.

    Raises:
      UserError: naming the key: the policy fills missing cells before the view, or the encoder takes no policy.
    """
    for name, options in sorted(config.views.items()):
        if name in parts_of_views(config.views):
            continue
        view = VIEWS.build(options, f"config.views.{name}")
        spec = specs[view.modality]
        if not view.hides or spec.kind != view.takes:  # `view_specs` refuses a wrong kind
            continue
        key = f"config.inputs.{view.modality}.missing"
        check(
            spec.missing in REPLACED_POLICIES,
            f"{key}: the view {name!r} hides cells, which the policy {spec.missing!r} cannot represent; set "
            f"{key}=token.",
        )
        part, path = config.encoders[view.modality], f"config.encoders.{view.modality}.name"
        fitting = [other for other in ENCODERS.names() if view.takes in takes(other) and _replaces(other)]
        check(
            _replaces(part.name, path),
            f"{path}: the view {name!r} hides cells, and the encoder {part.name!r} takes no policy for missing cells; "
            f"choose from {', '.join(fitting)}.",
        )


def _replaces(encoder: str, path: str = "") -> bool:
    """Return whether the encoder replaces NaN, by the policy for missing values or, with tokens, always."""
    factory = ENCODERS.factory(encoder, path)
    made = typing.get_type_hints(factory).get("return")
    return "missing" in inspect.signature(factory).parameters or getattr(made, "replaces_missing", False)
