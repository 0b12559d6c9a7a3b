"""MaML (ies-research): its classifiers, trained by the Trainer of Lightning as its experiments do, without logs and files."""

import logging
from math import prod

import lightning
import numpy as np
import torch
from maml.classifiers import CoNALClassifier, CrowdLayerClassifier, RegCrowdNetClassifier, UnionNetClassifier
from side_networks import network_of
from torch import nn
from torch.utils.data import DataLoader, Dataset

REGULARIZED = {"trace-reg": "trace-reg", "geocrowdnet-f": "geo-reg-f", "geocrowdnet-w": "geo-reg-w", "ccem": "geo-reg-w"}
WEIGHT = 0.01  # of a penalty, as ours


def version() -> str:
    return f"checkout, lightning {lightning.__version__}"


def _classifier(method: str, network: str, x_shape: tuple[int, ...], annotators: int, classes: int):
    trunk, head = network_of(network, x_shape, classes)
    common = {"n_classes": classes, "gt_embed_x": trunk, "gt_output": head}
    common |= {"optimizer": torch.optim.Adam, "optimizer_gt_dict": {"lr": 1e-3}}
    if method == "crowdlayer-mw":
        return CrowdLayerClassifier(n_annotators=annotators, **common)
    if method == "unionnet-b":
        return UnionNetClassifier(n_annotators=annotators, **common)
    if method == "conal":  # its gate reads the input, as ours
        gate = nn.Sequential(nn.Flatten(), nn.Linear(prod(x_shape), 128), nn.Linear(128, 20))
        people = {"annotators": torch.eye(annotators), "ap_embed_a": nn.Linear(annotators, 20)}
        return CoNALClassifier(ap_embed_x=gate, ap_use_gt_embed_x=False, **people, **common)
    weight = 0.0 if method == "ccem" else WEIGHT
    return RegCrowdNetClassifier(n_annotators=annotators, lmbda=weight, regularization=REGULARIZED[method], **common)


def _dense(data: dict) -> torch.Tensor:
    """``[items, annotators]`` labels, -1 where there is none: the form that its data sets have."""
    labels = torch.full((len(data["x"]), int(data["n_annotators"])), -1)
    labels[data["item"], data["annotator"]] = torch.from_numpy(data["label"])
    return labels


class _Items(Dataset):
    def __init__(self, **columns: torch.Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["x"])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: column[index] for name, column in self.columns.items()}


def train(data: dict, method: str, network: str, epochs: int, batch_size: int):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    labels, classes, calls = _dense(data), int(data["n_classes"]), iter(range(100))
    x, x_test, y_test = (torch.from_numpy(data[name]) for name in ("x", "x_test", "y_test"))
    labeled = (labels >= 0).any(dim=1)
    items, test = _Items(x=x[labeled], z=labels[labeled]), _Items(x=x_test, y=y_test)

    def run() -> dict[str, np.ndarray]:
        torch.set_num_threads(1)
        torch.manual_seed(next(calls))
        model = _classifier(method, network, tuple(x.shape[1:]), labels.shape[1], classes)
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, **quiet)
        trainer.fit(model, DataLoader(items, batch_size, shuffle=True), DataLoader(test, len(test)))
        return {"accuracy": np.array(100 * float(trainer.callback_metrics["gt_val_acc"]))}

    return run


def step(data: dict, method: str, network: str, steps: int):
    """Steps on one batch, without the Trainer; first one that is not timed."""
    torch.set_num_threads(1)
    labels, x = _dense(data), torch.from_numpy(data["x"])
    torch.manual_seed(0)
    model = _classifier(method, network, tuple(x.shape[1:]), labels.shape[1], int(data["n_classes"]))
    (optimizer,) = model.configure_optimizers()

    def run(steps: int = steps) -> dict[str, np.ndarray]:
        for number in range(steps):
            optimizer.zero_grad()
            loss = model.training_step({"x": x, "z": labels}, number)
            loss.backward()
            optimizer.step()
        return {"loss": np.array(loss.item())}

    run(1)
    return run
