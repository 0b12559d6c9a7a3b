"""Whether labels follow the matrices that they were drawn from."""

import numpy as np
from scipy import stats


def p_value(counts: np.ndarray, expected: np.ndarray) -> float:
    """Chi-square test of counts against probabilities, row by row; impossible cells must be empty, rare ones are one cell."""
    assert not counts[expected == 0].any()
    statistic, freedom = 0.0, 0
    for found, share in zip(counts.reshape(-1, counts.shape[-1]), expected.reshape(-1, counts.shape[-1]), strict=True):
        wanted = share * found.sum()
        rare = wanted < 5
        found, wanted = np.append(found[~rare], found[rare].sum()), np.append(wanted[~rare], wanted[rare].sum())
        cells = wanted > 1
        statistic += ((found - wanted)[cells] ** 2 / wanted[cells]).sum()
        freedom += max(cells.sum() - 1, 0)
    return stats.chi2.sf(statistic, freedom)
