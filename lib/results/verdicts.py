"""Claims: what a paper says, what came out here, and the verdict. The rules for the verdict stand here and nowhere else.

A claim is a **value** (our number should be near the paper's), a **difference** (one thing is better than another, in pairs of
runs with the same seed) or a **fact** (a number that no seed moves, or how many parts of a statement hold). Intervals are
two-sided 95 % intervals over seeds, or over seeds and test items where each run kept which items it got right
(:func:`lib.results.samples.ends`). Shares are counted in percent, their differences in percentage points.

============================  ==========================================================================================
verdict                       when
============================  ==========================================================================================
reproduced                    value: the whole interval lies inside ``paper ± band``; difference: the interval lies above
                              zero and our mean is at least half of the paper's difference (where the paper prints none,
                              above zero is enough: it is an order); fact: equal to within the band; statement in parts:
                              every part is reproduced
direction only                difference: the interval lies above zero, the mean is below half of the paper's difference;
                              in parts: every part lies above zero, not all reach half
inconclusive                  value: the interval reaches into the band and out of it; difference: it holds zero; a single
                              seed; in parts: some part is inconclusive, none is contradicted
contradicted                  value: the interval lies outside the band; difference: it lies below zero; fact: another
                              number; in parts: at least one is contradicted
holds on our reconstruction   what would be "reproduced" if data, method and scale were the paper's: the most that a
                              claim of origin "reconstruction" can reach
not run at paper scale        no runs, or smaller ones than the claim needs
============================  ==========================================================================================

Nothing but Python is needed here, so that the site, which has no PyTorch, reads the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["KINDS", "ORIGINS", "SCALES", "VERDICTS", "Claim", "judge"]

VERDICTS = {  # the best first
    "reproduced": "as the paper says, with the interval and the size that the rules ask for",
    "holds on our reconstruction": "what would be reproduced if crowd, method and scale were the paper's",
    "direction only": "the right sign for certain, less than half of the paper's size",
    "inconclusive": "the interval holds zero, or reaches out of the band",
    "contradicted": "certain, and not as the paper says",
    "not run at paper scale": "no runs, or smaller ones than the claim needs",
}
# Counted apart, always.
ORIGINS = {
    "paper number": "printed in the paper, or stored in its authors' notebooks, on its own data",
    "paper order": "an order or a statement of the paper without a number",
    "reconstruction": "a crowd or method rebuilt by us, other images, a far smaller scale, or a third party's number",
    "ours": "not in the paper: our own control or question",
}
KINDS = ("value", "difference", "fact")
SCALES = ("smoke", "quick", "overnight", "fast", "paper")


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict; a number that there is not is None.

    Attributes:
        id: unique over all notebooks; it stays when words change.
        notebook, paper, locator: where it is decided, whose it is, and where the paper says it.
        statement: one plain sentence.
        origin: one of :data:`ORIGINS`.
        headline: whether it is one of the one to three that the notebook is about.
        dataset, case, methods, metric: what the rows behind it are of.
        unit: of all its numbers.
        paper_value: as the paper prints it.
        ours, low, high: our mean over seeds and the ends of its 95 % interval.
        seeds: how many (pairs, for a difference); 0 for a fact.
        scale: what the runs were made at.
        band: how far from the paper's value still counts.
        kind: one of :data:`KINDS`.
        keys: of the ledger rows behind it.
        verdict: one of :data:`VERDICTS`.
        terms: how ours comes from the rows: triples of factor, metric and positions in ``keys``, one a seed.
        parts: ids of the claims that a statement in parts is decided by.
        needs: the scale below which it cannot be judged.
        over: what the interval is over, :data:`lib.results.samples.SEEDS` and its like.
    """

    id: str
    notebook: str
    paper: str
    locator: str
    statement: str
    origin: str
    headline: bool
    dataset: str
    case: str
    methods: tuple[str, ...]
    metric: str
    unit: str
    paper_value: str | None
    ours: float | None
    low: float | None
    high: float | None
    seeds: int
    scale: str
    band: float | None
    kind: str
    keys: tuple[str, ...]
    verdict: str
    terms: tuple = ()
    parts: tuple[str, ...] = ()
    needs: str | None = None
    over: str = "seeds"


def judge(claim: Claim, parts: Sequence[Claim] = ()) -> str:
    """The verdict that the rules of this module give a claim's numbers.

    Args:
        claim: its own verdict is not looked at.
        parts: the claims named in ``claim.parts``.
    """
    small = claim.needs is not None and SCALES.index(claim.scale or "smoke") < SCALES.index(claim.needs)
    if claim.ours is None or small:
        return "not run at paper scale"
    verdict = _judge_parts(parts) if claim.parts else _judge_numbers(claim)
    return "holds on our reconstruction" if verdict == "reproduced" and claim.origin == "reconstruction" else verdict


def _judge_numbers(claim: Claim) -> str:
    printed = None if claim.paper_value is None else float(claim.paper_value)
    if claim.kind == "fact":
        return "reproduced" if abs(claim.ours - printed) <= (claim.band or 0) + 1e-9 else "contradicted"
    if claim.low is None:  # a single seed says nothing about noise
        return "inconclusive"
    if claim.kind == "value":
        least, most = printed - claim.band, printed + claim.band
        if least <= claim.low and claim.high <= most:
            return "reproduced"
        return "contradicted" if claim.high < least or claim.low > most else "inconclusive"
    if claim.low > 0:
        return "reproduced" if printed is None or claim.ours >= printed / 2 else "direction only"
    return "contradicted" if claim.high < 0 else "inconclusive"


def _judge_parts(parts: Sequence[Claim]) -> str:
    verdicts = {part.verdict for part in parts}
    for verdict in ("contradicted", "not run at paper scale", "inconclusive", "direction only"):
        if verdict in verdicts:
            return verdict
    return "reproduced"
