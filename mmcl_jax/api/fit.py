"""`mj.fit`: a table and its images become a fitted estimator."""

from typing import Any

from mmcl_jax.api.embedder import ContrastiveEmbedder
from mmcl_jax.api.images import is_folder


def fit(table: Any, images: Any = None, **parameters: Any) -> ContrastiveEmbedder:
    """Train encoders on a table and its images, and return the estimator that embeds new rows.

    Args:
      table: a data frame with a row per sample; or an array of images `[N, H, W, C]`, without `images`.
      images: the folder of the images, whose paths `image_column` holds; or an image per row.
      **parameters: of `ContrastiveEmbedder`, such as `config`, `input`, `image_column` and `workdir`.

    Returns:
      The fitted estimator: `transform(table)` gives embeddings. Images that were given as an array are given to
      `transform` as `images=`.

    Raises:
      UserError: a row, column or parameter is wrong; it is named.

    Example:
      >>> embed = mj.fit(ads, "photos/", image_column="file", input="image+table")  # doctest: +SKIP
      >>> embed.transform(new_ads).shape  # doctest: +SKIP
      (120, 640)
    """
    if images is None or is_folder(images):
        return ContrastiveEmbedder(images=images, **parameters).fit(table)
    return ContrastiveEmbedder(**parameters).fit(table, images=images)
