"""What a view is, and the registry of views."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped, UInt32

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array
from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.registry import Registry
from mmcl_jax.views.randomness import example_keys

VIEWS = Registry("view")

# What is known of the training rows of one input: `Inputs.fitted`, and "population" `[N, ...]` for views that draw.
Fitted = Mapping[str, Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Viewed:
    """What a view gave for every example of a batch, and what it did to it.

    Attributes:
      values: what the encoder sees.
      geometry: where the view's pixels lie in the stored array, for views of images and volumes of n = 2 or 3 axes: the
        pixel at index p of the view (row, column) shows the stored index `geometry[:, :n] @ p + geometry[:, n]`.
        Indices are of pixel centres. Masks and boxes follow by it.
      changed: the columns that were overwritten, for views that corrupt.
    """

    values: Shaped[Array, "B ..."]
    geometry: Float[Array, "B n m"] | None = None
    changed: Bool[Array, "B F"] | None = None


Apply = Callable[[Array, Key[Array, "B"], Fitted], Viewed]


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """What the model sees of one modality, which must be of the kind that the view takes.

    Attributes:
      modality: the input.
      takes: its kind, such as "image" or "table".
      apply: `apply(values [B, ...], keys [B], fitted)` gives the view of every example in training.
      plain: the same without augmentation, for the monitor, evaluation, embeddings and explanations. It draws only what
        belongs to the data.
      draws: whether `apply` draws from training rows, which are `fitted["population"]` then.
      population: how many training rows it draws from; None for all, see `data.population`.
    """

    modality: str
    takes: str
    apply: Apply
    plain: Apply
    draws: bool = False
    population: int | None = None

    def __call__(
        self,
        values: ArrayLike,
        key: Key[Array, "*B"] | None = None,
        *,
        train: bool = True,
        **fitted: ArrayLike,
    ) -> Viewed:
        """Return the view of every example of a batch that is given as an array.

        Args:
          values: stored rows `[B, ...]`: images `[B, H, W, C]` of uint8 or uint16, volumes `[B, D, H, W, C]`, encoded
            rows of a table or vectors `[B, F]`, tokens `[B, T, 2]`. Any array that speaks DLPack will do.
          key: a random key for the batch, or one for each example `[B]`.
          train: whether the view is that of training; else it is the plain one, which needs no key.
          fitted: what the view takes from the training rows, such as `population` (rows to draw from), or `mean` and
            `std`.

        Raises:
          ArrayError: (a `UserError`) the array has another number of axes, or the key or something fitted is missing.

        Example:
          >>> from mmcl_jax.views import augment
          >>> view, images = augment(size=(4, 4)), jnp.zeros((2, 8, 8, 3), jnp.uint8)
          >>> jax.jit(view)(images, jax.random.key(0)).values.shape
          (2, 4, 4, 3)
        """
        rows = as_array(values, self.modality)
        if self.takes in _AXES and rows.ndim not in _AXES[self.takes]:
            raise ArrayError(
                f"a view of the kind {self.takes} takes arrays of {_AXES[self.takes][0]} axes, the first of the "
                f"examples, not {rows.shape}."
            )
        look = self.apply if train else self.plain
        if key is None:
            if look is not self.plain:
                raise ArrayError("a view of training draws at random; give a key, or train=False for the plain view.")
            key = jax.random.key(0)
        keys = key if key.ndim else jax.random.split(key, len(rows))
        return look(rows, keys, _Fitted({name: as_array(value, name) for name, value in fitted.items()}))


# By kind, the axes of a batch; rows may have several images or volumes. Kinds of users are not here.
_AXES = {"image": (4, 5), "volume": (5, 6), "table": (2,), "vector": (2,), "text": (3,)}


class _Fitted(dict[str, Array]):
    """What was fitted, by name; what lacks is named."""

    def __missing__(self, name: str) -> Array:
        raise ArrayError(f"the view takes {name!r} from the training rows; give {name}=.")


def apply_views(
    views: Mapping[str, View],
    batch: Mapping[str, Array],
    *,
    seed: UInt32[Array, ""],
    step: Int[Array, ""],
    fitted: Mapping[str, Fitted],
    plain: bool = False,
) -> dict[str, Viewed]:
    """Return every view of a batch, by name.

    The values of a row that is absent (`present/MODALITY`) are zeros, and those of a text -1, which is no token,
    whatever the batch holds for it.

    Args:
      views: by name; the name is also the view's random stream.
      batch: `id` uint32 [B], one array per modality, and `present/MODALITY` bool [B] of those that rows may lack.
      seed: of the experiment.
      step: of training, so that every epoch sees another view.
      fitted: by modality, what its views were fitted with.
      plain: whether the plain forms are wanted.
    """
    seen = {}
    for name, view in views.items():
        look = view.plain if plain else view.apply
        keys = example_keys(seed, step, name, batch["id"], batch.get("occurrence"))
        one = look(batch[view.modality], keys, fitted.get(view.modality, {}))
        present = batch.get(f"present/{view.modality}")
        seen[name] = one if present is None else dataclasses.replace(one, values=_zeroed(one.values, present))
    return seen


def view_shape(view: View, given: InputSpec) -> tuple[int, ...]:
    """Return the shape of one example's view of an input.

    Raises:
      ValueError: the view cannot be made of such rows.
    """
    rows = jax.ShapeDtypeStruct((1, *given.shape), given.dtype)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    scale = jax.ShapeDtypeStruct(given.shape, jnp.float32)
    tokens, unknown = jax.ShapeDtypeStruct(given.widths, bool), jax.ShapeDtypeStruct((), jnp.int32)
    fitted = {"mean": scale, "std": scale, "tokens": tokens, "unknown": unknown}
    return jax.eval_shape(lambda *given: view.plain(*given).values, rows, keys, fitted).shape[1:]


def _zeroed(values: Shaped[Array, "B ..."], present: Bool[Array, "B"]) -> Shaped[Array, "B ..."]:
    nothing = jnp.zeros_like(values) if jnp.issubdtype(values.dtype, jnp.floating) else jnp.full_like(values, -1)
    return jnp.where(present.reshape(-1, *[1] * (values.ndim - 1)), values, nothing)
