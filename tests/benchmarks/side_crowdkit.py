"""crowd-kit: its aggregators, and its learning module in the loop that its examples have."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version as version_of

import numpy as np
import pandas as pd


def version() -> str:
    return version_of("crowd-kit")


def _frame(data: dict) -> pd.DataFrame:
    return pd.DataFrame({"task": data["item"], "worker": data["annotator"], "label": data["label"]})


def _posterior(make: Callable, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    model = make()
    model.fit(frame)
    return {"posterior": model.probas_.sort_index(axis=0).sort_index(axis=1).to_numpy()}


def majority_vote(data: dict):
    from crowdkit.aggregation import MajorityVote

    return partial(_posterior, lambda: MajorityVote(), _frame(data))


def dawid_skene(data: dict, iterations: int):
    from crowdkit.aggregation import DawidSkene

    return partial(_posterior, lambda: DawidSkene(n_iter=iterations, tol=-np.inf), _frame(data))


def glad(data: dict, iterations: int, tolerance: float, m_steps: int):
    from crowdkit.aggregation import GLAD

    model = {"n_iter": iterations, "tol": tolerance, "m_step_max_iter": m_steps}
    return partial(_posterior, lambda: GLAD(silent=True, **model), _frame(data))


def mace(data: dict, iterations: int):
    from crowdkit.aggregation import MACE

    return partial(_posterior, lambda: MACE(n_restarts=1, n_iter=iterations), _frame(data))


def train(data: dict, method: str, network: str, epochs: int, batch_size: int):
    import torch
    from crowdkit.learning.conal import CoNAL
    from crowdkit.learning.crowd_layer import CrowdLayer
    from side_networks import network_of
    from torch.nn import functional as F

    order = np.argsort(data["item"], kind="stable")
    item, annotator, label = (data[name][order] for name in ("item", "annotator", "label"))
    starts = np.searchsorted(item, np.arange(len(data["x"]) + 1))
    labeled = np.flatnonzero(np.diff(starts))
    x, x_test, y_test = (torch.from_numpy(data[name]) for name in ("x", "x_test", "y_test"))
    classes, annotators, calls = int(data["n_classes"]), int(data["n_annotators"]), iter(range(100))

    def run() -> dict[str, np.ndarray]:
        torch.set_num_threads(1)
        torch.manual_seed(next(calls))
        trunk, head = network_of(network, x.shape[1:], classes)
        net = torch.nn.Sequential(trunk, head)
        layer = CrowdLayer(classes, annotators) if method == "crowdlayer-mw" else CoNAL(classes, annotators)
        if method == "conal":
            layer(x[:2].flatten(1), net(x[:2]), torch.zeros(2, dtype=torch.int64))  # its first layer is a lazy one
        optimizer = torch.optim.Adam([*net.parameters(), *(p for p in layer.parameters() if p.requires_grad)], lr=1e-3)
        for _ in range(epochs):
            net.train()
            for rows in np.array_split(np.random.default_rng(0).permutation(labeled), -(-len(labeled) // batch_size)):
                sizes = starts[rows + 1] - starts[rows]
                where = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in rows])
                position = torch.from_numpy(np.repeat(np.arange(len(rows)), sizes))
                who, said = torch.from_numpy(annotator[where]), torch.from_numpy(label[where])
                batch = x[torch.from_numpy(rows)]
                optimizer.zero_grad()
                logits = net(batch)
                if method == "conal":
                    given = layer(batch.flatten(1)[position], logits[position], who)
                else:
                    given = layer(torch.softmax(logits, dim=1)[position], who)
                F.cross_entropy(given, said).backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                accuracy = (net(x_test).argmax(dim=1) == y_test).double().mean().item()
        return {"accuracy": np.array(100 * accuracy)}

    return run
