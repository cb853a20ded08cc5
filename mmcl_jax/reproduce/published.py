"""The published numbers: of Hager et al. (CVPR 2023), tables 1 to 3, in percent, of MT-CMTM, ContIG and the taxonomy.

Each number of MMCL is the mean and the standard deviation over five fine-tuning seeds of one pretrained model: AUC for
myocardial infarction ("MI") and coronary artery disease ("CAD"), top-1 for DVM-CAR ("DVM"). The numbers of figure 2 and
of the supplement are not available to us. Each number of ContIG is of a single run; those of its appendix (frozen
encoders, other genetics encoders, single traits) are not available to us. Those of the taxonomy (Fedorov et al.) are
read off figures of its released code, to about 0.2 points; on how many runs they are means is not said.
"""

from mmcl_jax.reproduce.spec import Published

Numbers = dict[str, dict[str, Published]]

TARGETS = {
    "DVM": "DVM-CAR",
    "CAD": "UK Biobank, CAD",
    "MI": "UK Biobank, infarction",
    "HIPMP": "HIPMP",
    "CONTIG": "real eyes",
    "TWO_VIEW": "Two-View MNIST",
    "SVHN": "MNIST-SVHN",
    "LOVT": "real radiographs",
}
# MT-CMTM (Roy et al., arXiv 2501.07304) minus the same table encoder from scratch: points of top-1 accuracy on DVM-CAR,
# and the relative improvement in percent of the mean squared error on HIPMP (membranes; its data cannot be had).
MT_CMTM_GAIN = {"DVM": 2.38, "HIPMP": 1.48}
_FAILED = "did not converge"


def _both(mi: tuple[float, ...], cad: tuple[float, ...], dvm: tuple[float, ...]) -> Numbers:
    """Return a row's published numbers by target, each from frozen mean and sd, then trainable mean and sd."""
    return {
        target: {"frozen": Published(numbers[0], numbers[1]), "trainable": Published(numbers[2], numbers[3])}
        for target, numbers in (("MI", mi), ("CAD", cad), ("DVM", dvm))
    }


def _one(
    column: str, mi: tuple[float, float] | str, cad: tuple[float, float] | str, dvm: tuple[float, float]
) -> Numbers:
    """Return a row's published numbers in one column by target, each from mean and sd, or from a note."""
    return {
        target: {column: Published(None, note=value) if isinstance(value, str) else Published(*value)}
        for target, value in (("MI", mi), ("CAD", cad), ("DVM", dvm))
    }


TABLE1: dict[str, Numbers] = {
    "supervised": _one("trainable", (72.37, 1.80), (68.84, 2.54), (87.97, 2.20)),
    "simclr": _both((73.69, 0.36, 73.62, 0.70), (69.86, 0.21, 71.46, 0.71), (65.48, 0.48, 88.76, 0.81)),
    "byol": _both((69.18, 0.43, 70.69, 2.09), (66.91, 0.19, 70.66, 0.22), (59.73, 0.28, 89.18, 0.90)),
    "simsiam": _both((71.72, 0.18, 72.31, 0.26), (67.79, 0.12, 70.13, 0.35), (22.11, 2.83, 87.43, 0.88)),
    "barlow_twins": _both((66.06, 1.11, 71.35, 1.23), (62.90, 0.23, 69.63, 0.58), (52.57, 0.08, 85.47, 0.82)),
    "mmcl": _both((76.35, 0.19, 75.37, 0.43), (74.45, 0.09, 73.08, 0.75), (91.43, 0.13, 93.00, 0.18)),
}

TABLE2: dict[str, Numbers] = {
    "mmcl": _one("frozen", (76.35, 0.19), (74.45, 0.09), (91.43, 0.13)),
    "mmcl_morphometric": _one("frozen", (75.22, 0.30), (73.71, 0.09), (92.33, 0.05)),
    "mmcl_not_morphometric": _one("frozen", (75.46, 0.19), (72.18, 0.25), (89.14, 0.24)),
    "simclr": _one("frozen", (73.69, 0.36), (69.86, 0.21), (65.48, 0.48)),  # of table 1
}

# On the cardiac data "a dash indicates failure to converge".
TABLE3: dict[str, Numbers] = {
    "mmcl": _one("frozen", (76.35, 0.19), (74.45, 0.09), (91.43, 0.13)),
    "laaf": _one("frozen", (76.60, 0.42), (73.76, 0.31), (93.56, 0.08)),
    "fn_elimination": _one("frozen", (75.38, 0.06), (72.45, 0.09), (92.39, 0.18)),
    "fn_elimination_laaf": _one("frozen", (75.30, 0.05), (72.39, 0.08), (94.07, 0.05)),
    "supcon": _one("frozen", _FAILED, _FAILED, (93.82, 0.11)),
    "supcon_laaf": _one("frozen", _FAILED, _FAILED, (94.40, 0.04)),
}


def _contig(kappa: float, auroc: float, dice: float, mse: float, traits: float) -> Numbers:
    """Return a row of ContIG's table 1 (Taleb et al., CVPR 2022): percent, but for the summed squared error."""
    return {
        "CONTIG": {
            "aptos": Published(kappa),
            "rfmid": Published(auroc),
            "palm": Published(dice),
            "numbers": Published(mse, digits=3),
            "binary": Published(traits),
        }
    }


CONTIG_TABLE1: dict[str, Numbers] = {
    "scratch": _contig(80.47, 91.64, 77.25, 3.440, 56.29),
    "contig_simclr": _contig(81.83, 91.88, 70.41, 3.451, 59.38),
    "contig_simsiam": _contig(75.44, 91.28, 72.26, 3.442, 57.37),
    "contig_byol": _contig(71.09, 89.88, 66.32, 3.414, 59.73),
    "contig_barlow_twins": _contig(72.28, 92.03, 70.53, 3.430, 59.05),
    "contig_nnclr": _contig(77.93, 91.89, 72.06, 3.426, 61.95),
    "snp": _contig(84.01, 93.22, 76.98, 3.254, 70.10),
    "pgs": _contig(85.93, 93.31, 78.47, 3.176, 72.72),
    "burden": _contig(83.22, 93.03, 76.49, 3.160, 72.37),
    "inner": _contig(81.52, 92.95, 77.34, 3.202, 70.80),
    "outer": _contig(84.22, 93.62, 76.97, 3.187, 71.80),
}

# The independent regions of table 2; the authors put those of BYOL in brackets, as likely false positives.
CONTIG_TABLE2: dict[str, Numbers] = {
    "contig_byol": {"CONTIG": {"regions": Published(None, note="(17)")}},
    **{
        row: {"CONTIG": {"regions": Published(regions, digits=0)}}
        for row, regions in (
            ("contig_simclr", 4), ("contig_simsiam", 2), ("contig_barlow_twins", 8), ("contig_nnclr", 3), ("snp", 16),
            ("pgs", 20), ("burden", 19), ("inner", 22), ("outer", 18),
        )
    },
}  # fmt: skip


def _rows(target: str, columns: tuple[str, str], numbers: dict[str, tuple[float, float]]) -> dict[str, Numbers]:
    """Return the numbers of each row in two columns, which are one target's."""
    return {
        key: {target: {column: Published(value, digits=1) for column, value in zip(columns, both, strict=True)}}
        for key, both in numbers.items()
    }


TWO_VIEW = _rows(
    "TWO_VIEW",
    ("rotated", "noisy"),
    {
        "classes": (98.8, 98.6), "xx": (97.05, 97.5), "xx_cc": (97.1, 97.5), "xx_cc_rr": (97.0, 97.35),
        "xx_rr": (97.1, 97.3), "cr_xx_rr": (96.15, 96.4), "cr_xx_cc_rr": (96.2, 96.35), "cr_cc_rr": (94.7, 94.75),
        "cr_xx_cc": (94.1, 94.5), "cr_xx": (93.95, 94.15), "cr_rr": (94.25, 94.1), "rr_ae": (90.0, 89.3),
        "cc_rr": (86.4, 85.7), "rr": (86.3, 84.9), "ae": (80.9, 87.6), "cc": (78.4, 80.4), "cr_cc": (79.3, 66.4),
        "dccae": (74.2, 66.2), "cr_cca": (78.7, 62.2), "cr": (75.3, 56.4),
    },
)  # fmt: skip
MNIST_SVHN = _rows(
    "SVHN",
    ("mnist", "svhn"),
    {
        "xx_cc": (99.16, 87.4), "rr_ae": (99.26, 87.3), "xx_cc_rr": (99.28, 87.2), "cc_rr": (99.26, 87.1),
        "xx_rr": (99.28, 87.1), "xx": (99.08, 87.0), "rr": (99.28, 87.0), "classes": (98.88, 85.0),
        "cr_xx_cc_rr": (99.10, 84.6), "cr_xx_rr": (99.08, 84.2), "cr_cc_rr": (99.10, 83.5), "cr_rr": (98.98, 83.2),
        "cr_xx": (97.8, 80.3), "cr_xx_cc": (97.7, 80.2), "cc": (89.7, 57.0), "cr": (90.8, 24.0), "cr_cc": (89.8, 23.6),
        "cr_cca": (90.5, 22.5), "dccae": (73.0, 19.6), "ae": (91.1, 17.9),
    },
)  # fmt: skip


def target_of(variant: str, label: str, *, number: bool = False) -> str:
    """Return the target whose published numbers stand beside ours: that of our data, or DVM-CAR for other data.

    Beside a number stands HIPMP, the only published target that is one.
    """
    if number:
        return "HIPMP"
    if variant != "cardiac":
        return "DVM"
    return "MI" if label.lower().startswith(("infarct", "mi")) else "CAD"
