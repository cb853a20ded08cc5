"""The data card: one self-contained HTML page, without scripts, about the raw files and the store made of them."""

from mmcl_jax.prepare.card.page import render_card

__all__ = ["render_card"]
