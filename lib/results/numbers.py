"""Our numbers as text, alike in every table, claim and page; needs nothing but Python, so that the site has them too.

A number is rounded from its six leading digits, which is what ``table.csv`` and ``claims.json`` hold: so a cell made from a
run and one made from a file never differ. A paper's number is shown as it is printed.
"""

import math
from decimal import ROUND_HALF_UP, Decimal

__all__ = ["MISSING", "number", "spanned", "spread"]

MISSING = "–"


def number(value: float | None, digits: int) -> str:
    """A number rounded from its six leading digits, halves away from zero; ``–`` for one that is missing; never ``-0.0``."""
    if value is None or math.isnan(value):
        return MISSING
    text = f"{Decimal(f'{value:.6g}').quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"
    return text.removeprefix("-") if float(text) == 0 else text


def spread(mean: float, std: float, digits: int) -> str:
    """``mean ± std``, or the mean alone where there is no std."""
    text = number(mean, digits)
    return text if text == MISSING or math.isnan(std) else f"{text} ± {number(std, digits)}"


def spanned(center: float | None, low: float | None, high: float | None, digits: int) -> str:
    """``6.4 [3.3, 9.5]``, or the center alone where there is no interval.

    Verdicts rest on which side of zero an end lies, so an end that is not zero does not print as zero: all three numbers then
    have more digits.
    """
    sided = [end for end in (low, high) if end is not None and abs(end) > 1e-9]  # anything smaller is only rounding
    while any(float(number(end, digits)) == 0 for end in sided):
        digits += 1
    text, ends = number(center, digits), (number(low, digits), number(high, digits))
    return text if MISSING in ends else f"{text} [{', '.join(ends)}]"
