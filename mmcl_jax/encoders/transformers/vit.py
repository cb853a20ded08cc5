"""The Vision Transformer (Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021), as torchvision has it."""

import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from mmcl_jax.encoders.base import ENCODERS, Encoder
from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.transformers.attention import TransformerBlock, layer_norm, transformer_init
from mmcl_jax.encoders.transformers.dropout import Drop, dropout

EPSILON = 1e-6  # of layer normalisation
_LARGEST_PATCH, _PATCHES = 16, 8  # of the rule for the default patch

Tokens = Float[Array, "B T D"]


class Block(TransformerBlock):
    """A transformer block with dropout behind the attention and behind both layers of the perceptron."""

    def __call__(self, x: Tokens, drop: Drop) -> Tokens:  # type: ignore[override]
        """Return the tokens after the block."""
        y = self.norm1(x)
        x = x + drop(self.attention(y, y))
        hidden = drop(nnx.gelu(self.hidden(self.norm2(x)), approximate=False))
        return x + drop(self.out(hidden))


class VisionTransformer(Encoder):
    """Blocks of self-attention over a class token and the patches of an image; see `vit`."""

    takes = ("image",)

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        width: int,
        depth: int,
        heads: int,
        patch: int | None,
        dropout: float,
        rngs: nnx.Rngs,
        dtype: DTypeLike,
    ) -> None:
        if min(width, depth, heads) <= 0 or width % heads:
            raise ValueError(
                f"width, depth and heads must be positive, and heads must divide width, not {width}, {depth}, {heads}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, not {dropout}")
        height, breadth, channels = shape
        patch = default_patch(height, breadth) if patch is None else patch
        check_patch(patch, height, breadth)
        self.grid = (height // patch, breadth // patch)
        self.patches = nnx.Conv(
            channels,
            width,
            (patch, patch),
            strides=patch,
            padding="VALID",
            kernel_init=nnx.initializers.truncated_normal(1 / math.sqrt(channels * patch**2)),
            dtype=dtype,
            rngs=rngs,
        )
        self.class_token = nnx.Param(jnp.zeros((1, 1, width)))
        self.positions = nnx.Param(transformer_init(rngs.params(), (1, 1 + math.prod(self.grid), width)))
        self.blocks = nnx.List(
            [Block(width, heads, epsilon=EPSILON, qkv_bias=True, rngs=rngs, dtype=dtype) for _ in range(depth)]
        )
        self.norm = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.out_features = self.out_local_features = width
        self.dropout, self.dtype = dropout, dtype

    def row_bytes(self, *, train: bool) -> int:
        """Return the bytes of the attention weights of all blocks, which the gradient needs, or of one block."""
        one = 4 * self.blocks[0].attention.heads * (1 + math.prod(self.grid)) ** 2  # float32
        return one * (len(self.blocks) if train else 1)

    def embed(self, view: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Return the view in the dtype of the computation."""
        return view.astype(self.dtype)

    def body(
        self,
        embedded: Float[Array, "B H W C"],
        *,
        train: bool,
        present: Bool[Array, " B"] | None = None,
        keys: Key[Array, " B"] | None = None,
    ) -> Features:
        """Return the class token as the pooled feature, and the tokens of the patches as local features.

        The stages are two maps on one grid: of the patches that enter the last block, from which the class token is
        computed, and of the local features, from which it is not. Without `keys` nothing is dropped.
        """
        del present  # rows do not meet
        batch, (height, width) = embedded.shape[0], self.grid
        drop = dropout(self.dropout, keys if train else None)

        def as_map(tokens: Array) -> Array:
            return tokens.reshape(batch, height, width, self.out_features)

        def with_patches(first: Array, patches: Array) -> Array:
            return jnp.concatenate([first, patches.reshape(batch, height * width, self.out_features)], axis=1)

        token = jnp.broadcast_to(self.class_token[...], (batch, 1, self.out_features)).astype(self.dtype)
        x = drop(with_patches(token, self.patches(embedded)) + self.positions[...].astype(self.dtype))
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, drop)
        entering = as_map(x[:, 1:])
        # The tokens are put together again, so that the class token is computed from the map, as Grad-CAM needs.
        x = self.norm(last(with_patches(x[:, :1], entering), drop))
        local = x[:, 1:]
        return Features(pooled=x[:, 0], local=local, stages=(entering, as_map(local)), grid=self.grid)


def default_patch(height: int, width: int) -> int:
    """Return the largest power of two, at most 16, that fits eight times into the shorter side.

    Example:
      >>> [default_patch(side, side) for side in (224, 128, 64, 32, 8)]
      [16, 16, 8, 4, 1]
    """
    fits = min(height, width) // _PATCHES
    return min(_LARGEST_PATCH, 1 << max(fits.bit_length() - 1, 0))


def check_patch(patch: int, height: int, width: int) -> None:
    """Raise `ValueError` unless patches of this side tile an image."""
    if patch <= 0:
        raise ValueError(f"patch must be positive, not {patch}")
    side = math.gcd(height, width)
    divisors = " or ".join(str(number) for number in range(2, side + 1) if side % number == 0)
    fitting = tuple(max(round(size / patch), 1) * patch for size in (height, width))
    if side % patch:
        raise ValueError(
            f"patches of {patch} x {patch} pixels do not tile images of {height} x {width}; set "
            f"{f'patch to {divisors}, or ' if divisors else ''}the option size of the view to {fitting}"
        )


@ENCODERS.register("vit")
def vit(
    *,
    shape: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    width: int = 192,
    depth: int = 12,
    heads: int = 3,
    patch: int | None = None,
    dropout: float = 0.0,
) -> VisionTransformer:
    """Return a Vision Transformer; the default sizes are those of ViT-Ti (Touvron et al., ICML 2021).

    Each patch passes a linear layer, a class token comes first, and learned position embeddings are added. The blocks
    are pre-norm, with a perceptron four times as wide and exact GELU; the epsilon of layer normalisation is 1e-6.
    `pooled` is the class token after the last norm, and `local` the tokens of the patches, row by row.

    Args:
      shape: of one image, (height, width, channels).
      rngs: random streams for the initial parameters: of the patches' layer truncated normal with the variance
        1 / fan-in, the class token 0, position embeddings and blocks normal with the deviation 0.02, biases 0.
      dtype: of the computation.
      width: of the tokens.
      depth: number of blocks.
      heads: number of attention heads.
      patch: side of a patch in pixels; by default the largest power of two, at most 16, that fits eight times into the
        shorter side of the image: 16 at 128 pixels and above, 4 at 32.
      dropout: share of values that training sets to 0, behind the position embeddings, the attention, and both layers
        of the perceptron. `mmcl evaluate --protocol finetune` drops nothing.

    Raises:
      ValueError: a size is not positive, the heads do not divide the width, the patches do not tile the image, or
        `dropout` is not in [0, 1).

    Example:
      >>> import jax
      >>> encoder = vit(shape=(16, 24, 3), rngs=nnx.Rngs(0), width=8, depth=1, heads=2, patch=8)
      >>> features = jax.jit(lambda images: encoder(images, train=False))(jnp.ones((2, 16, 24, 3)))
      >>> features.pooled.shape, features.local.shape, features.grid
      ((2, 8), (2, 6, 8), (2, 3))
    """
    return VisionTransformer(
        shape=shape, width=width, depth=depth, heads=heads, patch=patch, dropout=dropout, rngs=rngs, dtype=dtype
    )


@ENCODERS.register("vit_small")
def vit_small(
    *,
    shape: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    patch: int | None = None,
    dropout: float = 0.0,
) -> VisionTransformer:
    """Return a ViT-S: width 384, 12 blocks, 6 heads; 21,665,664 parameters at 224 pixels. Arguments: see `vit`.

    Example:
      >>> import jax
      >>> encoder = nnx.eval_shape(lambda: vit_small(shape=(224, 224, 3), rngs=nnx.Rngs(0)))  # shapes alone
      >>> encoder.out_features, sum(x.size for x in jax.tree.leaves(nnx.state(encoder, nnx.Param)))
      (384, 21665664)
    """
    return vit(shape=shape, rngs=rngs, dtype=dtype, width=384, depth=12, heads=6, patch=patch, dropout=dropout)


@ENCODERS.register("vit_base")
def vit_base(
    *,
    shape: tuple[int, ...],
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    patch: int | None = None,
    dropout: float = 0.0,
) -> VisionTransformer:
    """Return a ViT-B: width 768, 12 blocks, 12 heads; 85,798,656 parameters at 224 pixels. Arguments: see `vit`.

    Example:
      >>> import jax
      >>> encoder = nnx.eval_shape(lambda: vit_base(shape=(224, 224, 3), rngs=nnx.Rngs(0)))  # shapes alone
      >>> encoder.out_features, sum(x.size for x in jax.tree.leaves(nnx.state(encoder, nnx.Param)))
      (768, 85798656)
    """
    return vit(shape=shape, rngs=rngs, dtype=dtype, width=768, depth=12, heads=12, patch=patch, dropout=dropout)
