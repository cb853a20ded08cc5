"""The size of the stored images beside that of the views."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec


def enlarged(config: ConfigDict, inputs: Mapping[str, InputSpec]) -> str | None:
    """Return a sentence if image views are larger than the stored images, which are then enlarged as torchvision does.

    Args:
      config: of the experiment.
      inputs: what the store holds of it, by modality.
    """
    for name, view in config.views.items():
        given = inputs.get(view.modality)
        size = view.get("size") if given is not None and given.kind == "image" else None
        if given is None or size is None:
            continue
        height, width = given.shape[-3:-1]
        if size[0] > height or size[1] > width:
            return (
                f"config.views.{name}.size is {size[0]} x {size[1]} and stored images have {height} x {width}: they "
                f"are enlarged, which adds no detail; --config.views.{name}.size=None keeps theirs."
            )
    return None
