"""Methods that learn from a crowd: the catalogue, and a method by its name.

One file a method, all with the interface of :class:`lib.methods.base.Method`; those for another task than classification
derive from that task's own base class and override what is said of classes there. A new method is its file, its line in
:data:`CATALOGUE`, and its test. A method's module is imported when the method is asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lib.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

    from lib.crowd.triples import Triples
    from lib.methods.base import Method
    from lib.networks import Backbone

__all__ = ["CATALOGUE", "Entry", "Info", "build", "info", "names"]


@dataclass(frozen=True)
class Entry:
    """A line of the catalogue.

    Attributes:
        module: of this package.
        maker: the class in it; one class may have several lines, with different preset options.
        title: the name shown in tables.
        paper: authors and year.
        family: methods of a family share a hue in figures.
        preset: options that are the method, see :func:`build`.
        revision: raised whenever a code change moves the method's numbers; part of every run's key.
    """

    module: str
    maker: str
    title: str
    paper: str
    family: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 1

    def make(self) -> type[Method]:
        """The class, imported now."""
        return getattr(importlib.import_module(f"{__name__}.{self.module}"), self.maker)


CATALOGUE = {
    "true-labels": Entry("aggregated", "TrueLabels", "True labels", "upper bound", "bound"),
    "true-ratings": Entry("ratings", "TrueRatings", "True ratings", "upper bound", "bound"),
    "majority-vote": Entry("aggregated", "MajorityVote", "Majority vote", "baseline", "aggregated"),
    "soft-majority-vote": Entry("aggregated", "SoftMajorityVote", "Soft majority vote", "baseline", "aggregated"),
    "dawid-skene": Entry("aggregated", "DawidSkene", "Dawid-Skene, then train", "Dawid & Skene 1979", "aggregated"),
    "majority-vote-elr": Entry("aggregated", "MajorityVoteELR", "Majority vote + ELR", "Liu et al. 2020", "aggregated"),
    "glad": Entry("aggregated", "GLAD", "GLAD, then train", "Whitehill et al. 2009", "aggregated"),
    "mace": Entry("aggregated", "MACE", "MACE, then train", "Hovy et al. 2013", "aggregated"),
    "ratings-mean": Entry("ratings", "MeanRating", "Mean of the ratings", "baseline", "aggregated"),
    "dl-em": Entry("dl_em", "DLEM", "DL-EM", "Rodrigues & Pereira 2018", "em"),
    "dl-em-released": Entry(
        "dl_em", "DLEM", "DL-EM (as released)", "Rodrigues & Pereira 2018", "em", preset={"variant": "released"}
    ),
    "ratings-em": Entry("ratings_em", "RatingsEM", "EM (biases, precisions)", "Raykar et al. 2010", "em"),
    "ccc": Entry("ccc", "CCC", "CCC", "Zhang et al. 2024", "crowd layer"),
    "crowdlayer-mw": Entry(
        "crowd_layer", "CrowdLayer", "Crowd Layer (MW)", "Rodrigues & Pereira 2018", "crowd layer", preset={"variant": "MW"}
    ),
    "crowdlayer-vw": Entry(
        "crowd_layer", "CrowdLayer", "Crowd Layer (VW)", "Rodrigues & Pereira 2018", "crowd layer", preset={"variant": "VW"}
    ),
    "crowdlayer-vwb": Entry(
        "crowd_layer", "CrowdLayer", "Crowd Layer (VW+B)", "Rodrigues & Pereira 2018", "crowd layer", preset={"variant": "VW+B"}
    ),
    "crowdlayer-s": Entry(
        "crowd_layer_ratings",
        "CrowdLayerRatings",
        "Crowd Layer (S)",
        "Rodrigues & Pereira 2018",
        "crowd layer",
        preset={"variant": "S"},
    ),
    "crowdlayer-b": Entry(
        "crowd_layer_ratings",
        "CrowdLayerRatings",
        "Crowd Layer (B)",
        "Rodrigues & Pereira 2018",
        "crowd layer",
        preset={"variant": "B"},
    ),
    "crowdlayer-sb": Entry(
        "crowd_layer_ratings",
        "CrowdLayerRatings",
        "Crowd Layer (S+B)",
        "Rodrigues & Pereira 2018",
        "crowd layer",
        preset={"variant": "S+B"},
    ),
    "doctornet": Entry("doctornet", "DoctorNet", "DoctorNet", "Guan et al. 2018", "doctornet"),
    "weighted-doctornet": Entry("doctornet", "WeightedDoctorNet", "Weighted DoctorNet", "Guan et al. 2018", "doctornet"),
    "trace-reg": Entry("trace_reg", "TraceRegularization", "Trace regularization", "Tanno et al. 2019", "trace"),
    "max-mig": Entry("max_mig", "MaxMIG", "Max-MIG", "Cao et al. 2019", "max-mig"),
    "conal": Entry("conal", "CoNAL", "CoNAL", "Chu et al. 2021", "conal"),
    "unionnet-a": Entry("unionnet", "UnionNet", "UnionNet-A", "Wei et al. 2022", "unionnet", preset={"variant": "A"}),
    "unionnet-b": Entry("unionnet", "UnionNet", "UnionNet-B", "Wei et al. 2022", "unionnet", preset={"variant": "B"}),
    "ccem": Entry(
        "geocrowdnet", "GeoCrowdNet", "CCEM", "Ibrahim et al. 2023", "geocrowdnet", preset={"penalty": "none", "weight": 0.0}
    ),
    "geocrowdnet-f": Entry(
        "geocrowdnet", "GeoCrowdNet", "GeoCrowdNet(F)", "Ibrahim et al. 2023", "geocrowdnet", preset={"penalty": "F"}
    ),
    "geocrowdnet-w": Entry(
        "geocrowdnet", "GeoCrowdNet", "GeoCrowdNet(W)", "Ibrahim et al. 2023", "geocrowdnet", preset={"penalty": "W"}
    ),
    "kd-crowd": Entry("kd_crowd", "KDCrowd", "KD-Crowd", "Li et al. 2025 (reconstructed)", "kd-crowd"),
    "ensemble": Entry("ensemble", "Ensemble", "Ensemble", "control", "ensemble"),
    "crowdlayer-mw-ensemble": Entry(
        "ensemble", "Ensemble", "Crowd Layer (MW), two networks", "control", "ensemble", preset={"base": "crowdlayer-mw"}
    ),
}


@dataclass(frozen=True)
class Info:
    """What is known of a method: its line of the catalogue, and what its class says.

    Attributes:
        name: the catalogue's name.
        title, paper, family, revision: as in :class:`Entry`.
        options: the constructor's options with their defaults.
        task: what it learns, and so which crowds it can learn from.
    """

    name: str
    title: str
    paper: str
    family: str
    revision: int
    options: dict = field(default_factory=dict)
    task: str = "classification"


def names(task: str | None = None) -> list[str]:
    """All methods, or those for one task, in alphabetical order."""
    return sorted(name for name, entry in CATALOGUE.items() if task in (None, entry.make().task))


def entry(name: str) -> Entry:
    """A method's line of the catalogue. Raises ValueError for an unknown name."""
    if name not in CATALOGUE:
        raise ValueError(unknown("method", name, sorted(CATALOGUE)))
    return CATALOGUE[name]


def info(name: str) -> Info:
    """Title, paper, family, revision, options and task of a method. Raises ValueError for an unknown name."""
    line = entry(name)
    make = line.make()
    parameters = list(inspect.signature(make).parameters.values())[2:]
    options = {p.name: p.default for p in parameters if p.name != "truth"} | dict(line.preset)
    return Info(name, line.title, line.paper, line.family, line.revision, options, make.task)


def build(name: str, backbone: Callable[[], Backbone], crowd: Triples, truth: Tensor | None = None, **options) -> Method:
    """A method, ready for :func:`lib.training.loop.fit`; weights come from torch's global generator.

    Args:
        name: one of :func:`names`.
        backbone: makes a fresh backbone at each call.
        crowd: the labels to learn from.
        truth: ``[items]`` true classes, needed by the upper bound ``true-labels`` alone (and its like in other tasks) and
            given to no other method.
        options: the method's own.

    Raises:
        ValueError: unknown name, an option that the method does not have, a crowd that does another task, no labels, or a
            backbone with another number of classes.
        MemoryError: annotators' matrices that this machine cannot train; names the bytes.
    """
    known, line = info(name), entry(name)
    make = line.make()
    wrong = [option for option in options if option not in known.options]
    if wrong:
        raise ValueError(f"method {name!r} has no option {wrong[0]!r}; it has: {', '.join(known.options) or 'none'}")
    if known.task != crowd.task:
        raise ValueError(f"method {name!r} is for {known.task}, the crowd was asked for {crowd.task}: {crowd!r}")
    if len(crowd) == 0:
        raise ValueError("there is nothing to learn from: the crowd gave no label")
    if "truth" in inspect.signature(make).parameters:
        options["truth"] = truth
    method = make(backbone, crowd, **(dict(line.preset) | options))
    if method.backbone.n_classes != crowd.n_outputs:
        raise ValueError(f"the backbone has {method.backbone.n_classes} classes, the labels have {crowd.n_outputs}")
    return method
