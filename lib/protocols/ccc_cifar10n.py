"""Notebook 35: the column CIFAR-10N of the CCC paper's Table 2, with the control that forgets who gave which label."""

from __future__ import annotations

from collections.abc import Sequence

from lib.protocols import ccc_images
from lib.protocols.ccc_images import OWN_SETS, PAIRS, PIXELS
from lib.protocols.ccc_table2 import BASELINES, pair
from lib.runs.config import RunConfig

DATASET = "cifar10n"
# The workers cannot be told apart (notebook 31): the same labels as if given by three annotators.
ANONYMOUS = "three annotators"
ANONYMOUS_METHODS = ("crowdlayer-mw", "ccc")
FROM_PIXELS = "from pixels"


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The paper's methods, the pairs and true labels with the published workers; Crowd Layer and CCC without them. At
    ``overnight``, where these are trained on features, all with the workers from pixels too."""
    names = ("true-labels", *BASELINES, *map(pair, PAIRS[scale]), "ccc", *OWN_SETS[scale])
    configs = ccc_images.runs(DATASET, names, scale, seeds, experiment=DATASET)
    places = {"data": {"variant": "places"}, "options": {"groups": 3}}
    configs += ccc_images.runs(DATASET, ANONYMOUS_METHODS, scale, seeds, experiment=DATASET, case=ANONYMOUS, **places)
    if scale == "overnight":
        configs += ccc_images.runs(DATASET, names, scale, seeds, experiment=DATASET, case=FROM_PIXELS, changed=PIXELS)
    return configs
