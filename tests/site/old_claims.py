"""Claims in the site's form, made from those of another form: enough to fill the explorer while there are no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

PAPERS = {"1": "crowd-layer", "2": "geocrowdnet", "3": "ccc", "4": "kd-crowd"}
VERDICTS = {"trend only": "direction only", "not reproduced": "inconclusive"}


def converted(notebook: str, number: int, old: dict) -> dict:
    """One claim of the earlier form, with made-up origin, unit and band."""
    difference = " above " in old["claim"] or "further" in old["claim"]
    verdict = VERDICTS.get(old["verdict"], old["verdict"])
    if verdict == "inconclusive" and old["ci_high"] is not None and old["ci_high"] < 0:
        verdict = "contradicted"
    origin = "reconstruction" if "reconstruction" in old["source"] else "ours" if old["paper_value"] is None else "paper number"
    return {
        "id": f"{notebook[:2]}-{number}",
        "notebook": notebook,
        "paper": PAPERS.get(notebook[0], ""),
        "locator": old["source"],
        "statement": old["claim"],
        "origin": origin,
        "headline": number == 0,
        "dataset": notebook.split("_")[-1],
        "case": "",
        "methods": ["crowdlayer-mw"] if "rowd" in old["claim"] else ["majority-vote"],
        "metric": "test_acc_last",
        "unit": "points" if difference else "%",
        "paper_value": None if old["paper_value"] is None else str(old["paper_value"]),
        "ours": old["ours"],
        "low": old["ci_low"],
        "high": old["ci_high"],
        "seeds": old["n_seeds"],
        "scale": old["scale"],
        "band": None if difference else 3.0,
        "kind": "difference" if difference else "value",
        "keys": [],
        "shown": str(old["ours"]),
        "verdict": verdict,
    }


def copy_of_figures(source: Path, target: Path) -> Path:
    """All figures, with every ``claims.json`` in the site's form."""
    shutil.copytree(source, target)
    for file in target.glob("*/claims.json"):
        claims = json.loads(file.read_text(encoding="utf-8"))
        if claims and "statement" not in claims[0]:
            claims = [converted(file.parent.name, number, claim) for number, claim in enumerate(claims)]
        file.write_text(json.dumps(claims), encoding="utf-8")
    return target
