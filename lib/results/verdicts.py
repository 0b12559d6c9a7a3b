"""Claims: what a paper says, what we found, and the verdict. The rules for the verdict stand here and nowhere else.

Intervals are two-sided 95 % intervals over seeds, or over seeds and test items where each run kept which items it got right
(:func:`lib.results.samples.ends`). Shares are counted in percent, their differences in percentage points. By kind of claim:

- A **value** (our number should be near the paper's) is reproduced where the whole interval lies inside ``paper ± band``,
  contradicted where it lies outside, and inconclusive where it reaches into the band and out of it.
- A **difference** (one thing is better than another, in pairs of runs with the same seed) is contradicted where the interval
  lies below zero and inconclusive where it holds zero. Where it lies above zero, the difference is reproduced if our mean is at
  least half of the paper's, or if the paper prints none (it is an order); else it is "direction only".
- A **fact** (a number that no seed moves) is reproduced where it equals the paper's to within the band, else contradicted.
- A **statement in parts** has the worst verdict of its parts: contradicted, not run, inconclusive, direction only, reproduced.

A single seed is inconclusive. No runs, or smaller ones than the claim needs, are "not run at paper scale". What would be
reproduced if data, method and scale were the paper's, "holds on our reconstruction": more a reconstruction cannot reach.

Nothing but Python is needed here, so that the site, which has no PyTorch, reads the same claims by the same words.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HELD", "KINDS", "ORIGINS", "SCALES", "VERDICTS", "Claim", "judge", "load"]

VERDICTS = {  # the best first
    "reproduced": "the whole interval of a value lies in the band fixed before the runs; or that of a difference lies above "
    "zero, and the mean is at least half of the paper's, where it prints one; or a number that no seed moves is the paper's",
    "holds on our reconstruction": "what would be reproduced if crowd, method and scale were the paper's",
    "direction only": "the interval of a difference lies above zero, but the mean is less than half of the paper's",
    "inconclusive": "the interval contains zero, or lies partly inside the band and partly outside; or there is one seed only",
    "contradicted": "the interval lies below zero, or outside the band; or a number that no seed moves is not the paper's",
    "not run at paper scale": "no runs, or only smaller ones than the claim needs",
}
HELD = ("reproduced", "holds on our reconstruction")
ORIGINS = {  # counted apart, always
    "paper number": "printed in the paper, or stored in its authors' notebooks, on its own data",
    "paper order": "an order or a statement in the paper that comes without a number",
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
        origin, kind, verdict: of :data:`ORIGINS`, :data:`KINDS`, :data:`VERDICTS`.
        headline: whether it is one of the one to three that the notebook is about.
        dataset, case, methods, metric, scale: of the rows behind it; ``keys`` are theirs.
        unit: of all its numbers.
        paper_value: as the paper prints it; ``band`` is how far from it still counts.
        ours, low, high: our mean over seeds and the ends of its 95 % interval, which is over what ``over`` says.
        seeds: how many (pairs, for a difference); 0 for a fact.
        terms: how ours comes from the rows: triples of factor, metric and positions in ``keys``, one a seed.
        parts: ids of the claims that a statement in parts is decided by.
        needs: the scale below which it cannot be judged.
        shown: ours with its interval, as it stands everywhere.
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
    shown: str = ""


def load(folder: Path) -> dict[str, Claim]:
    """The claims in every ``claims.json`` of a folder of figures, by id.

    Raises ValueError for a file that is no list of claims, an unknown verdict, origin or kind, or two claims with one id.
    """
    found: dict[str, Claim] = {}
    for path in sorted(folder.glob("*/claims.json")):
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            claims = [Claim(**{name: _frozen(part) for name, part in entry.items()}) for entry in entries]
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is no list of claims: {error!r}") from error
        for claim in claims:
            for name, known in (("verdict", VERDICTS), ("origin", ORIGINS), ("kind", KINDS)):
                if getattr(claim, name) not in known:
                    raise ValueError(f"{path} has the {name} {getattr(claim, name)!r}; expected one of {', '.join(known)}")
            if claim.id in found:
                raise ValueError(f"{path}: the id {claim.id!r} is taken by another claim")
            found[claim.id] = claim
    return found


def _frozen(part: object) -> object:
    return tuple(map(_frozen, part)) if isinstance(part, list) else part


def judge(claim: Claim, parts: Sequence[Claim] = ()) -> str:
    """The verdict that the rules of this module give a claim's numbers, or the verdicts of the claims that are its parts."""
    small = claim.needs is not None and SCALES.index(claim.scale or "smoke") < SCALES.index(claim.needs)
    if claim.ours is None or small:
        return "not run at paper scale"
    if claim.parts:
        verdicts = [part.verdict for part in parts]
        worst = ("contradicted", "not run at paper scale", "inconclusive", "direction only")
        verdict = next((name for name in worst if name in verdicts), "reproduced")
    else:
        verdict = _judge_numbers(claim)
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
