"""The contract of a view, and the registry of views."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped, UInt32
from ml_collections import ConfigDict

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array, zero_absent
from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.data.kinds.intensity import PERCENTILES, IntensityFit
from mmcl_jax.errors import check
from mmcl_jax.registry import Registry
from mmcl_jax.views.randomness import example_keys, plain_keys

VIEWS = Registry("view")

# Arrays fitted on the training rows of one input (`Inputs.fitted`), and the rows "population" `[N, ...]` to draw from.
# Where rows have several pictures, it also has `picture_keys` `[B]`, a random key for each row that all views share.
Fitted = Mapping[str, Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Viewed:
    """A view of every example of a batch, and how it was made.

    Attributes:
      values: the input of the encoder.
      geometry: the affine map from pixels of the view to pixels of the stored array, of images (n = 2 axes) and volumes
        (n = 3): the pixel at index p (row, column) shows the stored index `geometry[:, :n] @ p + geometry[:, n]`.
        Indices are those of pixel centres. Masks and boxes are transformed by this map.
      changed: which columns were overwritten, for views that corrupt.
    """

    values: Shaped[Array, "B ..."]
    geometry: Float[Array, "B n m"] | None = None
    changed: Bool[Array, "B F"] | None = None


Apply = Callable[[Array, Key[Array, "B"], Fitted], Viewed]


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """A transform from the stored rows of one modality to the input of its encoder.

    Attributes:
      modality: the input that is transformed.
      takes: the kind of entry that it must be, such as "image" or "table".
      apply: `apply(values [B, ...], keys [B], fitted)` returns the training view of every example.
      plain: the same without augmentation, for the monitor, evaluation, embeddings and explanations. Unless the view is
        `drawn`, all that it draws is the image to use of a row that has several.
      validated: the view in validation passes, for losses that need what `apply` changes, such as masked cells; None
        for the plain view. All passes draw alike.
      drawn: whether the plain form draws at random, since what it draws is part of the data, such as the angle of a
        rotated digit. The keys of its plain form depend on the example's id alone; see `randomness.plain_keys`.
      draws: whether `apply` takes values from training rows, `fitted["population"]`.
      hides: whether `apply` writes NaN into cells of a table, which the input's encoder has to replace.
      population: the number of training rows to draw from; None for all, see `data.population`.
      fits: what is fitted on the training volumes for the view, see `data.kinds.intensity`; None for nothing.
    """

    modality: str
    takes: str
    apply: Apply
    plain: Apply
    validated: Apply | None = None
    drawn: bool = False
    draws: bool = False
    hides: bool = False
    population: int | None = None
    fits: IntensityFit | None = None

    def __call__(
        self,
        values: ArrayLike,
        key: Key[Array, "*B"] | None = None,
        *,
        train: bool = True,
        **fitted: ArrayLike,
    ) -> Viewed:
        """Return the view of every example of a batch.

        Args:
          values: stored rows `[B, ...]`: images `[B, H, W, C]` of uint8 or uint16, volumes `[B, D, H, W, C]`, encoded
            rows of a table or vectors `[B, F]`, tokens `[B, T, 2]`. Any array that speaks DLPack is accepted.
          key: a random key for the batch, or one for each example `[B]`.
          train: True for the training view, False for the plain view, which needs no key unless it is `drawn`.
          fitted: arrays of the training rows that the view needs, such as `population` (rows to draw from), or `mean`
            and `std`.

        Raises:
          ArrayError: (a `UserError`) the array has a wrong number of axes, or the key or a fitted array is missing.

        Example:
          >>> from mmcl_jax.views import augment
          >>> view, images = augment(size=(4, 4)), jnp.zeros((2, 8, 8, 3), jnp.uint8)
          >>> jax.jit(view)(images, jax.random.key(0)).values.shape
          (2, 4, 4, 3)
        """
        rows = as_array(values, self.modality)
        if self.takes in _AXES and rows.ndim not in _AXES[self.takes]:
            raise ArrayError(
                f"a {self.takes} view takes arrays of {_AXES[self.takes][0]} axes, the first of which counts examples; "
                f"the shape {rows.shape} does not fit."
            )
        transform = self.apply if train else self.plain
        if key is None:
            if transform is not self.plain:
                raise ArrayError("a training view draws at random; pass a key, or train=False for the plain view.")
            if self.drawn:
                raise ArrayError(
                    "the draws of this view are part of the data; pass a key also for the plain view, such as "
                    "views.randomness.plain_keys(modality, ids)."
                )
            key = jax.random.key(0)
        keys = key if key.ndim else jax.random.split(key, len(rows))
        return transform(rows, keys, _Fitted({name: as_array(value, name) for name, value in fitted.items()}))


# The numbers of axes of a batch, by kind; rows may have several images or volumes. Users' own kinds are not checked.
_PICTURES = ("image", "volume")
_AXES = {"image": (4, 5), "volume": (5, 6), "table": (2,), "vector": (2,), "text": (3,)}


class _Fitted(dict[str, Array]):
    """Fitted arrays by name; reading an array that is missing raises an error that names it."""

    def __missing__(self, name: str) -> Array:
        raise ArrayError(f"the view needs the array {name!r} of the training rows; pass it as {name}=.")


def apply_views(
    views: Mapping[str, View],
    batch: Mapping[str, Array],
    *,
    seed: UInt32[Array, ""],
    step: Int[Array, ""],
    fitted: Mapping[str, Fitted],
    plain: bool = False,
    validation: bool = False,
) -> dict[str, Viewed]:
    """Return every view of a batch, by name.

    Where a row is absent (`present/MODALITY` is false), the values are zeros, or, in a text, -1 (no token).

    Args:
      views: by name; the name is also the view's random stream.
      batch: `id` uint32 [B], one array per modality, and `present/MODALITY` bool [B] of modalities that rows may lack.
      seed: of the experiment.
      step: of training; every step draws other views. The plain form of a `drawn` view depends on neither.
      fitted: the fitted arrays, by modality.
      plain: whether to return plain views.
      validation: whether to return the views of a validation pass, most of which are plain.
    """
    viewed = {}
    for name, view in views.items():
        transform = view.plain if plain else view.apply
        if validation:
            transform = view.validated or view.plain
        keys = example_keys(seed, step, name, batch["id"], batch.get("occurrence"))
        if view.drawn and (plain or (validation and view.validated is None)):
            keys = plain_keys(view.modality, batch["id"])
        own = fitted.get(view.modality, {})
        if view.takes in _PICTURES and batch[view.modality].ndim == _AXES[view.takes][-1]:
            shared = example_keys(seed, step, f"{view.modality}/picture", batch["id"], batch.get("occurrence"))
            own = {**own, "picture_keys": shared}
        with jax.named_scope(f"view.{name}"):
            result = transform(batch[view.modality], keys, own)
        present = batch.get(f"present/{view.modality}")
        if present is not None:
            fill = 0 if jnp.issubdtype(result.values.dtype, jnp.floating) else -1
            result = dataclasses.replace(result, values=zero_absent(result.values, present, fill=fill))
        viewed[name] = result
    return viewed


def asked_of_volumes(specs: ConfigDict | Mapping[str, ConfigDict]) -> dict[str, IntensityFit]:
    """Return what the views of `config.views` ask to be fitted on the training volumes, by modality.

    Raises:
      UserError: naming the key: two views of a modality ask for different landmarks or masks, or an option of a view is
        unknown, ill-typed or out of range.
    """
    asked: dict[str, IntensityFit] = {}
    for name, spec in sorted(specs.items()):
        view = VIEWS.build(spec, f"config.views.{name}")
        if not isinstance(view, View) or view.fits is None:  # a fused view reads features
            continue
        first = asked.setdefault(view.modality, view.fits)
        check(
            first == view.fits,
            f"config.views.{name}: histogram is {view.fits.landmarks!r} and mask {view.fits.mask}, and in another view "
            f"of {view.modality!r} {first.landmarks!r} and {first.mask}; give both views the same.",
        )
    return asked


def view_shape(view: View, spec: InputSpec) -> tuple[int, ...]:
    """Return the shape of the view of one example of an input.

    Raises:
      ValueError: the view does not accept rows of this shape or dtype.
    """
    rows = jax.ShapeDtypeStruct((1, *spec.shape), spec.dtype)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    scale = jax.ShapeDtypeStruct(spec.shape, jnp.float32)
    tokens, unknown = jax.ShapeDtypeStruct(spec.widths, bool), jax.ShapeDtypeStruct((), jnp.int32)
    special = jax.ShapeDtypeStruct((2 if spec.special_tokens else 0,), jnp.int32)
    fitted = {"mean": scale, "std": scale, "tokens": tokens, "unknown": unknown, "special_tokens": special}
    if spec.kind == "volume":
        fitted["landmarks"] = jax.ShapeDtypeStruct((spec.shape[-1], len(PERCENTILES)), jnp.float32)
        fitted["mask"] = jax.ShapeDtypeStruct(spec.shape[-4:-1], bool)
    return jax.eval_shape(lambda *arguments: view.plain(*arguments).values, rows, keys, fitted).shape[1:]
