"""Methods that learn from a crowd: the catalogue, and a method by its name.

One file a method, all with the interface of :class:`lib.methods.base.Method`. A new one is its file, its line in
:data:`CATALOGUE`, and its test. A method's module is imported when the method is asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lib.registry import check_options, options_of, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from lib.crowd.triples import Triples
    from lib.methods.base import MakeBackbone, Method


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

    @property
    def task(self) -> str:
        """What it learns, and so which crowds it can learn from."""
        return self.make().task

    @property
    def options(self) -> dict[str, Any]:
        """The constructor's options with their defaults."""
        options = options_of(self.make(), first=2) | dict(self.preset)
        options.pop("truth", None)
        return options


# Paper and family of methods with several lines.
_CROWD_LAYER = "Rodrigues & Pereira 2018", "crowd layer"
_GEOCROWDNET = "Ibrahim et al. 2023", "geocrowdnet"

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
    "dl-em-released": Entry("dl_em", "DLEM", "DL-EM (as released)", "Rodrigues & Pereira 2018", "em", {"variant": "released"}),
    "ratings-em": Entry("ratings_em", "RatingsEM", "EM (biases, precisions)", "Raykar et al. 2010", "em"),
    "ccc": Entry("ccc", "CCC", "CCC", "Zhang et al. 2024", "crowd layer"),
    "crowdlayer-mw": Entry("crowd_layer", "CrowdLayer", "Crowd Layer (MW)", *_CROWD_LAYER, {"variant": "MW"}),
    "crowdlayer-vw": Entry("crowd_layer", "CrowdLayer", "Crowd Layer (VW)", *_CROWD_LAYER, {"variant": "VW"}),
    "crowdlayer-vwb": Entry("crowd_layer", "CrowdLayer", "Crowd Layer (VW+B)", *_CROWD_LAYER, {"variant": "VW+B"}),
    "crowdlayer-s": Entry("crowd_layer_ratings", "RatingLayer", "Crowd Layer (S)", *_CROWD_LAYER, {"variant": "S"}),
    "crowdlayer-b": Entry("crowd_layer_ratings", "RatingLayer", "Crowd Layer (B)", *_CROWD_LAYER, {"variant": "B"}),
    "crowdlayer-sb": Entry("crowd_layer_ratings", "RatingLayer", "Crowd Layer (S+B)", *_CROWD_LAYER, {"variant": "S+B"}),
    "doctornet": Entry("doctornet", "DoctorNet", "DoctorNet", "Guan et al. 2018", "doctornet"),
    "weighted-doctornet": Entry("doctornet", "WeightedDoctorNet", "Weighted DoctorNet", "Guan et al. 2018", "doctornet"),
    "trace-reg": Entry("trace_reg", "TraceRegularization", "Trace regularization", "Tanno et al. 2019", "trace"),
    "max-mig": Entry("max_mig", "MaxMIG", "Max-MIG", "Cao et al. 2019", "max-mig"),
    "conal": Entry("conal", "CoNAL", "CoNAL", "Chu et al. 2021", "conal"),
    "unionnet-a": Entry("unionnet", "UnionNet", "UnionNet-A", "Wei et al. 2022", "unionnet", {"variant": "A"}),
    "unionnet-b": Entry("unionnet", "UnionNet", "UnionNet-B", "Wei et al. 2022", "unionnet", {"variant": "B"}),
    "ccem": Entry("geocrowdnet", "GeoCrowdNet", "CCEM", *_GEOCROWDNET, {"weight": 0.0}),
    "geocrowdnet-f": Entry("geocrowdnet", "GeoCrowdNet", "GeoCrowdNet(F)", *_GEOCROWDNET, {"penalty": "F"}),
    "geocrowdnet-w": Entry("geocrowdnet", "GeoCrowdNet", "GeoCrowdNet(W)", *_GEOCROWDNET, {"penalty": "W"}),
    "kd-crowd": Entry("kd_crowd", "KDCrowd", "KD-Crowd", "Li et al. 2025 (reconstructed)", "kd-crowd"),
    "ensemble": Entry("ensemble", "Ensemble", "Ensemble", "control", "ensemble"),
    "crowdlayer-mw-ensemble": Entry(
        "ensemble", "Ensemble", "Crowd Layer (MW), two networks", "control", "ensemble", {"base": "crowdlayer-mw"}
    ),
}


def names(task: str | None = None) -> list[str]:
    """All methods, or those for one task, in alphabetical order."""
    return sorted(name for name, entry in CATALOGUE.items() if task in (None, entry.task))


def info(name: str) -> Entry:
    """A method's line of the catalogue. Raises ValueError for an unknown name."""
    if name not in CATALOGUE:
        raise ValueError(unknown("method", name, sorted(CATALOGUE)))
    return CATALOGUE[name]


def build(name: str, backbone: MakeBackbone, crowd: Triples, truth: Tensor | None = None, **options) -> Method:
    """One of :func:`names`, ready for :func:`lib.training.loop.fit`; weights come from torch's global generator.

    ``backbone`` makes a fresh backbone at each call, ``options`` are the method's own. The ``truth`` ``[items]`` is needed by
    the upper bounds ``true-labels`` and ``true-ratings`` and given to no other method.

    Raises:
        ValueError: unknown name, an option that the method does not have or a value outside its range, a crowd that does
            another task, no labels, a truth that does not fit, or a backbone with another number of classes.
        MemoryError: annotators' matrices that this machine cannot train; names the bytes.
    """
    entry = info(name)
    make = entry.make()
    check_options(f"method {name!r}", options, entry.options)
    if make.task != crowd.task:
        raise ValueError(f"method {name!r} is for {make.task}, the crowd was asked for {crowd.task}: {crowd!r}")
    if len(crowd) == 0:
        raise ValueError("there is nothing to learn from: the crowd gave no label")
    if "truth" in inspect.signature(make).parameters:
        if truth is None or len(truth) != crowd.n_items:
            found = "none" if truth is None else len(truth)
            raise ValueError(f"{name} needs the truth of each of the {crowd.n_items} items, found {found}")
        options["truth"] = truth
    method = make(backbone, crowd, **(dict(entry.preset) | options))
    if method.backbone.n_classes != crowd.n_outputs:
        raise ValueError(f"the backbone has {method.backbone.n_classes} classes, the labels have {crowd.n_outputs}")
    return method
