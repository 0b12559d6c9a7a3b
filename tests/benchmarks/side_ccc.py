"""The authors' CCC: one step of both networks by their ``meta_step`` and ``actual_step``, on a network of their own parts.

Their code asks for a GPU and for packages that a step does not use; both are stood in for.
"""

import sys
import types
from argparse import Namespace

import numpy as np
import torch

if not torch.cuda.is_available():
    torch.Tensor.cuda = lambda self, *_, **__: self
for absent, what in (("fast_pytorch_kmeans", "KMeans"), ("cifar10n", "CIFAR10N")):
    sys.modules.setdefault(absent, types.SimpleNamespace(**{what: None}))

import utils_ccc  # noqa: E402
from model import CL_model, resnet  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402


def version() -> str:
    return "checkout"


class _Network(CL_model.MetaModule):
    """``mlp``: a hidden layer of 128 units. ``resnet``: their stem and blocks, one in each of ``widths``."""

    def __init__(self, kind: str, x_shape: tuple[int, ...], classes: int, widths: list[int]) -> None:
        super().__init__()
        self.kind = kind
        if kind == "mlp":
            self.inner, self.linear = CL_model.MetaLinear(x_shape[0], 128), CL_model.MetaLinear(128, classes)
            return
        self.conv1 = CL_model.MetaConv2d(x_shape[0], widths[0], kernel_size=3, stride=1, padding=0, bias=False)
        self.bn1 = CL_model.MetaBatchNorm2d(widths[0])
        before = [widths[0], *widths]
        blocks = [resnet.BasicBlock(b, w, 1 + (n > 0)) for n, (b, w) in enumerate(zip(before, widths, strict=False))]
        self.blocks = nn.Sequential(*blocks)
        self.linear = CL_model.MetaLinear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "mlp":
            return self.linear(F.relu(self.inner(x)))
        return self.linear(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean(dim=(2, 3)))


def ccc_step(data: dict, network: str, gradient: str, widths: list[int], rate: float, lr: float, steps: int):
    torch.set_num_threads(1)
    classes, annotators, n_groups = (int(data[name]) for name in ("n_classes", "n_annotators", "n_groups"))
    x, meta = torch.from_numpy(data["x"]), [torch.from_numpy(data[f"meta_x{n}"]) for n in (0, 1)]
    meta_label = [torch.from_numpy(data[f"meta_label{n}"]) for n in (0, 1)]
    one_hot = torch.zeros(len(x), annotators, classes)
    one_hot[data["item"], data["annotator"], data["label"]] = 1
    batch = (x, None, one_hot, torch.zeros(len(x), dtype=torch.int64))

    def make(arch: str, nclass: int, in_dim: int, nb_annotator: int) -> nn.Module:
        model = CL_model.CL_model("none", nclass, in_dim, nb_annotator)
        model.backbone = _Network(network, tuple(x.shape[1:]), nclass, widths)
        return model

    utils_ccc.CL_model = make  # what their step copies a network with
    args = Namespace(
        nb_group=n_groups, nclass=classes, arch=network, in_dim=0, nb_annotator=annotators, crct_rate=rate, num_act=2
    )
    args.device, args.dataset = torch.device("cpu"), "labelme" if gradient == "full" else "cifar10n"

    models = [make(network, classes, 0, annotators) for _ in (0, 1)]

    def run(steps: int = steps) -> dict[str, np.ndarray]:
        for _ in range(steps):
            for number, model in enumerate(models):
                _set(model, data, number)
                optimizer = torch.optim.SGD(list(model.params()), lr=lr)
                other = (meta[1 - number], meta_label[1 - number])
                groups = data[f"groups{number}"].tolist()
                _, correction = utils_ccc.meta_step(args, model, optimizer, batch, other, groups)
                utils_ccc.actual_step(args, model, optimizer, batch, correction)
        return {"matrices": np.stack([model.CM_CL.weight.detach().numpy() for model in models])}

    run(1)
    return run


def _set(model: nn.Module, data: dict, number: int) -> None:
    """The start again: identities, and our weights in the order in which both have them."""
    with torch.no_grad():
        model.CM_CL.weight.copy_(torch.eye(model.nclass).expand_as(model.CM_CL.weight))
        for place, (_, parameter) in enumerate(model.backbone.named_params(model.backbone)):
            parameter.copy_(torch.from_numpy(data[f"weight{number}_{place}"]))
