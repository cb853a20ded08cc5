"""The data card: one HTML page, without scripts or anything fetched, that shows what `prepare` found and made."""

from mmcl_jax.prepare.card.page import render_card

__all__ = ["render_card"]
