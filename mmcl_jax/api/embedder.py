"""An estimator in scikit-learn's manner: contrastive pretraining is `fit`, frozen features are `transform`."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import polars as pl
from ml_collections import ConfigDict
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from mmcl_jax.api.commands.prepare import prepare
from mmcl_jax.api.frames import frame_of
from mmcl_jax.api.given import AnyPath, copied, overriding, path_of, several
from mmcl_jax.api.images import COLUMN, located
from mmcl_jax.api.snapshot import Snapshot, check_encoders, folder_for
from mmcl_jax.config import apply, load
from mmcl_jax.errors import check
from mmcl_jax.training.loop import pretrain


class ContrastiveEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learn encoders of images and tables from unlabelled pairs, and embed new rows with them.

    `fit` does what `mj.prepare` and `mj.pretrain` do. `transform` gives the frozen, pooled features that `mj.evaluate`
    measures, of rows that are read as those of `fit` were. The estimator holds its weights as NumPy arrays: it needs no
    folder after `fit`, and can be pickled. (Load only pickles that you made yourself: a pickle can run any code.)

    `X` is a data frame of any library with Arrow's PyCapsule interface, with N rows; or, for experiments on images
    alone, a uint8 array `[N, H, W, C]`. The images of the rows are files that `image_column` names in the folder
    `images`, which works in a `Pipeline` and with cross-validation; or they are given to `fit` and `transform` as
    `images=`, an image per row. `transform` reads only what `input` needs: with "table" no image, with "image" no
    column but those of the paths.

    Args:
      config: the name of a shipped experiment, the path of a config file, or a config; it must have the encoders of
        `input`.
      overrides: values of config keys, such as `{"epochs": 20, "encoders.image.name": "resnet18"}`.
      input: what is embedded: "image", "table" or "image+table", whose features are side by side.
      images: the folder of the images.
      image_column: the column with the paths in that folder, or several columns.
      label: columns of `X` that are no features, and that supervised terms read; `transform` does not need them.
      ignore: columns of `X` that are not read.
      categorical: columns of numbers that are categories.
      group_column: the column of the subject, such as a patient.
      schema: declares columns, as `mj.prepare` takes it.
      image_size: a side, or (height, width), that images are stored in; by default as they are.
      channels: 1 or 3; by default as the images are.
      held_out: the share of rows that the encoders do not learn from; they are the validation and test splits of the
        store, at least one row each.
      random_state: the seed of splits, initial weights, augmentation and order.
      workdir: keeps the store and the run of every `fit` in a folder of its own below; by default nothing is kept.
      workers: processes that decode files; with more than one, call `fit` under `if __name__ == "__main__":`.
      verbose: whether to print what training says.

    Attributes:
      snapshot_: the trained run as plain values.
      workdir_: the folder with `store` and `run`, None if nothing was kept.
      n_features_in_: the number of columns of `X`.
      feature_names_in_: the names of its columns.

    Example:
      >>> from sklearn.linear_model import LogisticRegression
      >>> from sklearn.pipeline import make_pipeline
      >>> embed = ContrastiveEmbedder(images="photos", image_column="file", input="image+table")
      >>> model = make_pipeline(embed, LogisticRegression())
      >>> model.fit(ads, models).score(new_ads, new_models)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        config: str | ConfigDict = "mmcl/mmcl:own",
        overrides: Mapping[str, Any] | Sequence[str] = (),
        input: str = "image",
        images: AnyPath | None = None,
        image_column: str | Sequence[str] = (),
        label: str | Sequence[str] = (),
        ignore: str | Sequence[str] = (),
        categorical: str | Sequence[str] = (),
        group_column: str | None = None,
        schema: AnyPath | Mapping[str, Any] | None = None,
        image_size: int | tuple[int, int] | None = None,
        channels: int | None = None,
        held_out: float = 0.1,
        random_state: int = 0,
        workdir: AnyPath | None = None,
        workers: int = 1,
        verbose: bool = False,
    ) -> None:
        self.config = config
        self.overrides = overrides
        self.input = input
        self.images = images
        self.image_column = image_column
        self.label = label
        self.ignore = ignore
        self.categorical = categorical
        self.group_column = group_column
        self.schema = schema
        self.image_size = image_size
        self.channels = channels
        self.held_out = held_out
        self.random_state = random_state
        self.workdir = workdir
        self.workers = workers
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, *, images: Any = None) -> Self:
        """Train the encoders.

        Args:
          X: N rows.
          y: not used; it is there so that the estimator can stand in a pipeline. Labels that an experiment learns from
            are columns of `X`, named by `label`.
          images: an image per row, instead of the folder.

        Returns:
          The estimator.

        Raises:
          UserError: a row, column or parameter is wrong; it is named. No row is left out.

        A column that is left out, because it gives the label away, is named by a warning.
        """
        frame, images = self._read(X, images)
        check(0 < self.held_out < 1, f"held_out: {self.held_out} is not between 0 and 1.")
        check(isinstance(self.random_state, int), f"random_state must be a whole number, not {self.random_state!r}.")
        share = max(self.held_out / 2, 1 / max(frame.height, 1))
        check(frame.height >= 4, f"X has {frame.height} rows; pretraining needs 4 or more.")
        with folder_for(None if self.workdir is None else path_of(self.workdir, "workdir")) as folder:
            store = prepare(
                None if frame.columns == [COLUMN] else frame,
                images,
                image_column=self.image_column,
                label=self.label,
                ignore=self.ignore,
                categorical=self.categorical,
                group_column=self.group_column,
                schema=self.schema,
                image_size=self.image_size,
                channels=self.channels,
                duplicates="keep",
                split=(1 - 2 * share, share, share),
                subsets=(),
                seed=self.random_state,
                max_bad=0.0,
                out=folder / "store",
                workers=self.workers,
            )
            for line in store.warnings:
                warnings.warn(line, stacklevel=2)
            texts = [*overriding(self.overrides), f"data={folder / 'store'}", f"seed={self.random_state}"]
            log = print if self.verbose else _nothing
            if isinstance(self.config, str):
                config = load(self.config, texts, log=log)
            else:
                config = copied(self.config)
                apply(config, texts, log=log)
            check_encoders(config, self.input)
            result = pretrain(config, folder / "run", log=log)
            check(result.finished, "The training was asked to stop before its end.")
            self.snapshot_ = Snapshot.of(result.run)
            self.workdir_ = None if self.workdir is None else folder
        self.n_features_in_ = frame.width
        self.feature_names_in_ = np.array(frame.columns, dtype=object)
        self._n_features_out = self._embed(frame[:1], None if images is None else images, first=True).shape[1]
        return self

    def fit_transform(self, X: Any, y: Any = None, *, images: Any = None) -> np.ndarray:
        """Train the encoders on the rows of `X`, and return their features `[N, D]`; see `fit` and `transform`."""
        return self.fit(X, y, images=images).transform(X, images=images)

    def transform(self, X: Any, *, images: Any = None) -> np.ndarray:
        """Return the features `[N, D]` float32 of the rows of `X`, in their order.

        `set_output(transform="pandas")` gives a data frame with the index of `X`.

        Raises:
          UserError: a row cannot be read, or lacks its image; it is named. No row is left out.
        """
        check_is_fitted(self)
        frame, images = self._read(X, images)
        return self._embed(frame, images)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def _embed(self, frame: pl.DataFrame, images: Any, *, first: bool = False) -> np.ndarray:
        if first and images is not None and not isinstance(images, str) and hasattr(images, "__getitem__"):
            images = images[:1]
        columns = several(self.image_column)
        return self.snapshot_.embed(frame, lambda: located(frame, images, columns), self.input)

    def _read(self, X: Any, images: Any) -> tuple[pl.DataFrame, Any]:
        """Return the rows as a data frame, and where their images are."""
        if isinstance(X, np.ndarray):
            shape = " x ".join(map(str, X.shape))
            check(X.ndim in (2, 3, 4), f"X has the shape {shape}; give a table [N, F] or images [N, H, W, C].")
            if X.ndim > 2:
                check(images is None, "X is an array of images, and images gives others; leave images out.")
                check(len(X) > 0, "X has no rows.")
                return pl.DataFrame({COLUMN: map(str, range(len(X)))}), X
            X = pl.DataFrame(X, schema=[f"x{place}" for place in range(X.shape[1])])
        frame = frame_of(X, "X")
        check(frame.height > 0, "X has no rows.")
        return frame, self.images if images is None else images


def _nothing(line: str) -> None:
    """Say nothing."""
