"""Words for names, counts, shares and values, shared by HTML pages and the terminal."""

import math

from mmcl_jax.text import visible

# Metrics whose lower values are better.
LOWER_IS_BETTER = (
    "mse", "mae", "rmse", "standardised_mse_sum", "log_loss", "brier", "ece", "abs_error_p90", "abs_error_p95",
    "abs_error_max",
)  # fmt: skip


def clipped(text: object, most: int = 80) -> str:
    """Return `visible(text)` in at most `most` characters, cut in its middle, since names often differ at the end."""
    plain = visible(text)
    if len(plain) <= most:
        return plain
    head = (most - 1) // 2
    return f"{plain[:head]}…{plain[-(most - 1 - head) :]}"


def count(number: int) -> str:
    """Return an integer with commas between thousands, such as 1,200."""
    return f"{number:,}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "row"), counted(1200, "row"), counted(3, "class", "classes")
    ('1 row', '1,200 rows', '3 classes')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def share(part: float, whole: float) -> str:
    """Return a fraction in percent; "0 %" and "100 %" are exact, never rounded.

    >>> share(0, 9), share(1, 90000), share(1, 64), share(1, 3), share(9999, 10000)
    ('0 %', '<0.1 %', '1.6 %', '33 %', '>99.9 %')
    """
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %" if percent < 9.95 or percent > 99 else f"{percent:.0f} %"


def number(value: float) -> str:
    """Return a value of a column, rounded to three significant digits or to a whole number.

    Four digits have no comma, since many such numbers are years.

    >>> number(2008), number(12500.4), number(0.01234), number(-3.0), number(2.5e19), number(float("nan"))
    ('2008', '12,500', '0.0123', '-3', '2.5e+19', '–')
    """
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if value == int(value) or abs(value) >= 999.5:
        return f"{value:,.0f}" if abs(value) >= 9999.5 else f"{value:.0f}"
    return f"{value:.3g}"


def category(text: str) -> str:
    """Return a category to be written before its share; in quotes if it ends in a digit, as in "'5' 66 %"."""
    short = clipped(text, 24)
    return f"'{short}'" if not short.strip() or short[-1].isdigit() else short
