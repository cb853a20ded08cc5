"""The reconstruction term: decode the view of an image or a volume from its pooled features."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mmcl_jax.arrays import ArrayError
from mmcl_jax.encoders.decoders import DECODERS
from mmcl_jax.errors import UserError
from mmcl_jax.objectives.base import TERMS, Term, check_weights
from mmcl_jax.objectives.stages import Each, Layer, LayerInput, Loss, Whole

_DECODER = DECODERS.spec("dcgan")


@TERMS.register("reconstruction")
def reconstruction(*, between: tuple[str] = ("image",), decoder: ConfigDict = _DECODER, weight: float = 1.0) -> Term:
    r"""Return the error of an autoencoder: the mean of $(\hat x - x)^2$ over all values of all views.

    The autoencoder of Fedorov et al. is a term for each modality, which share nothing; RR-AE adds contrasts between the
    pooled features. What is reconstructed is the view that the encoder got, with the changes that the view made. The
    term has the layer `decoder`.

    Args:
      between: the view.
      decoder: the decoder of the pooled features and its options, as `mmcl_jax.config.decoder` returns them.
      weight: factor of this term in the objective.

    Raises:
      ValueError: the weight is negative.

    Example:
      >>> from flax import nnx
      >>> term = reconstruction(decoder=DECODERS.spec("dcgan", width=2))
      >>> features, views = jnp.ones((2, 8)), jnp.zeros((2, 32, 32, 1))
      >>> layers = nnx.eval_shape(lambda: term.init(nnx.Rngs(0), features, views=views))  # shapes alone
      >>> layers["decoder"].layers[0].kernel.shape
      (4, 4, 8, 8)
      >>> float(term(each=jnp.array([0.5, 0.25])))  # of the mean squared errors of rows
      0.375
    """
    check_weights(weight=weight)

    def build(context: LayerInput) -> nnx.Module:
        (sizes,) = context.sizes
        if len(sizes.view) < 3:
            raise ValueError(f"between must name a view of an image or a volume, and {between[0]!r} is none")
        arguments = {"norm": context.norm, "rngs": context.rngs, "dtype": context.dtype}
        try:
            return DECODERS.build(decoder, "decoder", shape=sizes.view, features=sizes.pooled, **arguments)
        except UserError as error:
            raise ValueError(str(error).rstrip(".")) from error

    def each(rows: Each) -> Float[Array, "B"]:
        if not rows.views:
            raise ArrayError("reconstruction compares views with what is decoded of them; give them as views=.")
        (features,), (view,) = rows.features, rows.views
        assert view is not None  # only fused views are None
        decoded = rows.layers["decoder"](features.pooled, train=rows.train, present=rows.present)
        error = decoded.astype(jnp.float32) - view.values.astype(jnp.float32)
        return jnp.square(error).mean(axis=tuple(range(1, error.ndim)))

    def loss(batch: Whole) -> Loss:
        return Loss(value=batch.mean(batch.each))

    return Term(
        name="reconstruction",
        between=between,
        weight=weight,
        each=each,
        loss=loss,
        outputs=(),
        layers={"decoder": Layer(build=build)},
    )
