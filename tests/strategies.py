"""Random crowds for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lib.crowd.labels import CrowdLabels


@st.composite
def crowds(draw, max_items: int = 8, min_classes: int = 1, min_labels: int = 0) -> CrowdLabels:
    """Small crowds of any density, with items nobody labeled and annotators without labels among them."""
    n_items = draw(st.integers(1, max_items))
    n_annotators = draw(st.integers(1, 5))
    n_classes = draw(st.integers(min_classes, 4))
    cells = n_items * n_annotators
    cell = np.array(draw(st.lists(st.integers(0, cells - 1), unique=True, min_size=min(min_labels, cells))), dtype=int)
    said = st.lists(st.integers(0, n_classes - 1), min_size=len(cell), max_size=len(cell))
    label = np.array(draw(said), dtype=int)
    return CrowdLabels(cell // n_annotators, cell % n_annotators, label, n_items, n_annotators, n_classes)
