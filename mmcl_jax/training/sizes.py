"""The size of the stored images beside that of the views."""

from ml_collections import ConfigDict

from mmcl_jax.data.schema import ImageSpec


def enlarged(config: ConfigDict, image: ImageSpec) -> str | None:
    """Return a sentence if image views are larger than the stored images, which are then enlarged as torchvision does.

    Args:
      config: of the experiment.
      image: what the store holds.
    """
    for name, view in config.views.items():
        size = view.get("size") if view.modality == "image" else None
        if size and (size[0] > image.height or size[1] > image.width):
            return (
                f"config.views.{name}.size is {size[0]} x {size[1]} and stored images have {image.height} x "
                f"{image.width}: they are enlarged, which adds no detail; --config.views.{name}.size=None keeps theirs."
            )
    return None
