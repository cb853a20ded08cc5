"""The published numbers of LoVT (Mueller et al., ECCV 2022), in percent, of pretraining on all of MIMIC-CXR.

Those of the ablation and of the analyses are of pretraining on 30 % of it. Each is the mean of five runs of the
downstream training of one pretrained model; many of these five are the same to the last bit in the released results, so
that their intervals are too narrow.
"""

import math
from collections.abc import Mapping

from mmcl_jax.reproduce.published import Numbers
from mmcl_jax.reproduce.spec import Published

TARGET = "LOVT"
SHARES = (1.0, 0.1, 0.01)
_RSNA_COLUMNS = tuple(
    f"{column}-{100 * share:g}" for column in ("yolo-tuned", "yolo-frozen", "linear") for share in reversed(SHARES)
)
_OTHER_COLUMNS = (
    "covid-tuned", "covid-frozen", "covid-linear", "siim-tuned", "siim-frozen", "object-tuned", "object-frozen",
    "object-linear", "nih-linear",
)  # fmt: skip
# YOLO fine-tuned on 1, 10 and 100 % of the labels, frozen, and linear segmentation: mAP, mAP and Dice.
_RSNA = {
    "random": (2.4, 5.1, 14.9, 1.0, 4.0, 8.9, 21.9, 5.3, 5.3),
    "lovt_imagenet": (5.0, 12.4, 19.0, 3.6, 8.0, 15.7, 27.5, 38.3, 43.3),
    "lovt_chexpert": (10.0, 12.4, 22.2, 5.8, 11.9, 20.0, 40.0, 44.3, 46.9),
    "lovt_byol": (5.6, 11.0, 17.3, 6.8, 12.1, 15.9, 41.9, 45.1, 46.8),
    "lovt_simclr": (7.1, 12.2, 18.8, 5.4, 13.1, 17.3, 43.0, 45.1, 47.0),
    "lovt_pixelpro": (4.8, 11.0, 17.4, 4.6, 5.4, 12.6, 23.9, 34.8, 40.2),
    "lovt_convirt": (10.7, 13.3, 18.5, 8.2, 15.6, 17.9, 44.6, 48.5, 50.4),
    "lovt_clip": (7.0, 10.7, 19.9, 11.9, 15.0, 18.7, 45.2, 49.3, 51.1),
    "lovt": (8.5, 13.2, 18.1, 9.6, 16.4, 20.5, 46.3, 50.1, 51.8),
}
# COVID Rural (U-Net fine-tuned, frozen, linear), SIIM (fine-tuned, frozen), Object-CXR (all three), NIH (linear).
_OTHER = {
    "random": (34.0, 32.2, 6.0, 23.2, 23.9, 49.5, 28.4, 6.9, 0.5),
    "lovt_imagenet": (43.9, 41.9, 32.6, 38.5, 36.9, 62.5, 52.7, 37.8, 2.6),
    "lovt_chexpert": (46.2, 45.9, 37.7, 34.2, 37.7, 57.5, 39.8, 19.4, 15.2),
    "lovt_byol": (50.7, 42.0, 32.9, 42.6, 40.7, 60.6, 53.1, 21.8, 5.7),
    "lovt_simclr": (48.1, 44.1, 35.3, 41.2, 38.7, 61.1, 48.7, 30.0, 11.8),
    "lovt_pixelpro": (42.4, 37.7, 18.9, 39.4, 38.7, 65.0, 46.2, 29.7, 1.8),
    "lovt_convirt": (47.9, 46.0, 42.7, 39.3, 43.1, 60.6, 52.5, 36.0, 18.6),
    "lovt_clip": (48.6, 45.8, 41.7, 44.0, 45.0, 62.8, 56.9, 39.4, 11.4),
    "lovt": (51.2, 46.2, 44.0, 44.1, 43.9, 62.1, 57.4, 39.9, 9.4),
}
# On 30 % of MIMIC-CXR; the paper's ± is half the width of a 95 % interval over five runs, ours a standard deviation.
_ABLATION = {
    "lovt": (17.9, 0.4), "lovt_unweighted": (16.9, 1.3), "lovt_means": (15.7, 0.4), "lovt_local": (12.3, 0.7),
    "lovt_hard": (15.6, 1.4), "lovt_sentences": (16.2, 0.7), "lovt_regions": (13.7, 1.2), "lovt_global": (17.4, 0.9),
    "lovt_global_means": (14.2, 1.0), "lovt_clip": (16.1, 1.1), "lovt_convirt_cyclic": (15.8, 1.3),
    "lovt_convirt": (14.8, 1.1),
}  # fmt: skip
_T_RANGE = 2.776 / math.sqrt(5)  # half the width of a 95 % interval of the mean of five, in standard deviations
# Deviations of pooled and of local embeddings (all, within images, of centroids), uniformity, distance of pairs, and
# the errors of the alignment. LoVT is that on 30 % of MIMIC-CXR, as its variants are, though there are also numbers of
# LoVT on all of it: rows that are compared differ in one thing alone.
_ANALYSIS: dict[str, tuple[float | None, ...]] = {
    "lovt": (0.0168, 0.0172, 0.0158, 0.0049, -1.413, 0.903, 1.137, 0.255),
    "lovt_global": (0.0172, 0.0167, 0.0145, 0.0064, -1.468, 0.910, None, None),
    "lovt_global_means": (0.0106, 0.0168, 0.0147, 0.0059, -0.706, 0.883, None, None),
    "lovt_local": (0.0003, 0.0169, 0.0169, 0.0002, -0.0007, 1.395, 1.246, 0.509),
    "lovt_hard": (0.0163, 0.0171, 0.0158, 0.0049, -1.356, 0.905, 1.220, 0.270),
}
_ANALYSIS_COLUMNS = (
    "std", "std_total", "std_within", "std_centroid", "uniformity", "pair_distance", "rmse_image", "rmse_report",
)  # fmt: skip
_WIDTH = 2048


def _table(columns: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> dict[str, Numbers]:
    return {
        key: {TARGET: {column: Published(value, digits=1) for column, value in zip(columns, values, strict=True)}}
        for key, values in rows.items()
    }


def _analysis(values: tuple[float | None, ...]) -> Numbers:
    """Return a row with its deviations times the root of the width, and the logarithm of two of them."""
    numbers = {}
    for column, value in zip(_ANALYSIS_COLUMNS, values, strict=True):
        if value is not None:
            numbers[column] = Published(value * (math.sqrt(_WIDTH) if column.startswith("std") else 1), digits=3)
    within, centroid = values[2], values[3]
    assert within is not None
    assert centroid is not None
    return {TARGET: {**numbers, "collapse": Published(math.log(centroid / within))}}


RSNA = _table(_RSNA_COLUMNS, _RSNA)
OTHER = _table(_OTHER_COLUMNS, _OTHER)
ABLATION: dict[str, Numbers] = {
    key: {TARGET: {"yolo-frozen-10": Published(mean, half / _T_RANGE, digits=1)}}
    for key, (mean, half) in _ABLATION.items()
}
ANALYSIS = {key: _analysis(values) for key, values in _ANALYSIS.items()}
