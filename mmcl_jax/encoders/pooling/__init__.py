"""Pooling behind an encoder: how local features become the pooled feature.

A config asks for it by options of any encoder that has local features: `encoder("resnet50", pooling="attention")`.
Without them the encoder pools as its own documentation says.
"""

from mmcl_jax.encoders.pooling.attention import POOL, AttentionPool, attention_pooled

__all__ = ["POOL", "AttentionPool", "attention_pooled"]
