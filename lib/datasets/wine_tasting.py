"""The example of notebook 01: a table of wines and a table of what tasters called them, as somebody might have them.

The wines are scikit-learn's (UCI's data set 109, by Forina et al.): 178 bottles of three cultivars from Piedmont with 13
measurements each. The tasters are simulated. Of each kind there is something to find in the report:

* three who are nearly always right, three who are mostly right, one careless;
* Elena, who errs in a pattern: a Barolo she takes for a Grignolino, a Grignolino for a Barbera and the other way round;
* Fabio, who had the two names mixed up when he began and never noticed;
* Ivo, who guesses, and Luca, who calls everything a Grignolino;
* Nino, who tasted a few wines only.

Eight bottles were never tasted. The order of the bottles is shuffled, so that their names say nothing.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib import paths
from lib.simulation import drawing
from lib.storage import write_atomically

FOLDER = paths.DATA / "examples"
CULTIVARS = ("Barolo", "Grignolino", "Barbera")
PARTNER = (1, 2, 1)  # what each cultivar is taken for
UNTASTED = 8
LABELS_PER_ITEM = 3.0


def _tasters() -> dict[str, tuple[float, np.ndarray]]:
    """Name to share of the work and confusion matrix."""
    right = drawing.symmetric
    return {
        "Alba": (1.0, right(0.96, 3)),
        "Bruno": (1.5, right(0.94, 3)),
        "Carla": (0.8, right(0.95, 3)),
        "Dario": (1.5, right(0.82, 3)),
        "Elena": (1.2, drawing.pair_confusion(0.65, PARTNER, 0.9)),
        "Fabio": (1.0, right(0.93, 3)[:, [0, 2, 1]]),
        "Gina": (1.2, right(0.85, 3)),
        "Ivo": (1.0, right(1 / 3, 3)),
        "Luca": (0.8, drawing.constant(1, 3)),
        "Marta": (1.0, right(0.6, 3)),
        "Nino": (0.12, right(0.8, 3)),
        "Olga": (1.0, right(0.8, 3)),
    }


def wine() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The example, made again: ``labels`` (columns item, annotator, label; one row per label), ``features`` (item and 13
    measurements) and ``truth`` (item, label), which is not among the committed files."""
    from sklearn.datasets import load_wine

    source = load_wine()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(source.target))
    y = source.target[order].astype(np.int64)
    names = [f"wine_{number:03d}" for number in range(1, len(y) + 1)]
    columns = [name.replace("/", "_") for name in source.feature_names]
    features = pd.DataFrame(source.data[order], columns=columns)
    features.insert(0, "item", names)
    tasted = np.sort(rng.permutation(len(y))[UNTASTED:])
    shares, confusion = (np.array(part) for part in zip(*_tasters().values(), strict=True))
    crowd = drawing.simulate(y[tasted], confusion, LABELS_PER_ITEM, seed=0, participation=shares / shares.sum())
    named = replace(crowd, item_names=[names[item] for item in tasted], annotator_names=list(_tasters()), class_names=CULTIVARS)
    truth = pd.DataFrame({"item": names, "label": [CULTIVARS[k] for k in y]})
    return named.to_frame(), features, truth


def write(folder: Path = FOLDER) -> None:
    """Write ``labels.csv`` and ``features.csv``. Raises OSError where they cannot be written."""
    labels, features, _ = wine()
    for name, table in {"labels": labels, "features": features}.items():
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
