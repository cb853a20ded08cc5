"""A comparison of the sizes of stored images and of their views."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec


def enlargement_notice(config: ConfigDict, inputs: Mapping[str, InputSpec]) -> str | None:
    """Return a notice if image views are larger than the stored images, which are enlarged as in torchvision.

    Args:
      config: the experiment.
      inputs: the stored inputs of the experiment, by modality.
    """
    for name, view in config.views.items():
        spec = inputs.get(view.modality)
        size = view.get("size") if spec is not None and spec.kind == "image" else None
        if spec is None or size is None:
            continue
        height, width = spec.shape[-3:-1]
        if size[0] > height or size[1] > width:
            return (
                f"config.views.{name}.size is {size[0]} x {size[1]} and stored images have {height} x {width}: they "
                f"are enlarged, which adds no detail; --config.views.{name}.size=None keeps the stored size."
            )
    return None
