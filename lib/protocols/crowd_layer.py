"""Rodrigues & Pereira, *Deep Learning from Crowds* (AAAI 2018): the runs of notebooks 10 to 14.

**LabelMe** (10): the settings of :mod:`lib.protocols.real_crowds`; besides, as many gradient steps as the paper has, whose
images are stored ten times over.

**Five simulated annotators on cats and dogs** (11). Network and recipe are the released notebook's; batches of 64 at ``fast``
are ours, for time. Its photographs are used at ``fast`` and ``paper`` where the user has them
(:mod:`lib.datasets.dogs_vs_cats`); else cats and dogs of CIFAR-10, tested on those among its last 10,000 training images.
``quick`` and ``overnight`` have frozen features (:mod:`lib.datasets.image_features`) in place of the convolutions;
``overnight`` takes as many steps as the paper, ``quick`` a third of them.

**Movie reviews** (12). The recipe and, in the case ``as released``, epochs, free biases and the mean and deviation of the
*true* ratings are those of the authors' notebook. The network is ours, a hidden layer on bags of words: the reviews' texts
are not published. Epochs and the annotators' options were chosen on a fifth of the training reviews, three times drawn.

**Named entities** (13). Network and stages are those of the authors' released notebook, at ``paper`` also their sizes, rate
and epochs (DL-EM, which they did not run here, has as many as the Crowd Layer); at ``quick`` sizes and epochs are ours, and
the rate was chosen on sentences set aside. Their words start from GloVe vectors, which are not among the published files;
ours start from scratch, beside a second index for how a word is written.

**Sentences** (14): the published test texts with all methods are the leaderboard's runs. Beside them *held-out sentences*: a
fifth of the training sentences, with their true classes, since the published test texts are another kind. There with both
kinds of features; those of the pretrained network only where it is installed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lib.datasets import dogs_vs_cats, image_features, sentence_vectors
from lib.datasets.cifar10 import HELD_OUT
from lib.protocols import at_scale, keeping, overview, real_crowds, selection, watched
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

LAYERS = ("crowdlayer-vw", "crowdlayer-vwb", "crowdlayer-mw")


# ---------------------------------------------------------------------- 10: LabelMe

TEN = "ten passes"
TEN_SEEDS = 5
TEN_METHODS = ("true-labels", "majority-vote", "dawid-skene", "dl-em", "dl-em-released", "crowdlayer-mw")


def labelme(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All rows at one pass per epoch; the paper's rows at ten passes, at ``quick`` with the first five seeds. One run of the
    Crowd Layer at ten passes keeps its matrices and predictions, and is also stopped after few epochs."""
    methods = ("true-labels", "majority-vote", "dawid-skene", "dl-em", "dl-em-released", *LAYERS)
    few, names = (seeds, methods) if scale == "paper" else (seeds[:TEN_SEEDS], TEN_METHODS)
    (whole,) = real_crowds.runs("labelme", ["crowdlayer-mw"], scale, seeds[:1], case=TEN, passes=10)
    longer = real_crowds.runs("labelme", names, scale, few, case=TEN, passes=10)
    return real_crowds.runs("labelme", methods, scale, seeds) + longer + watched(whole)


# ---------------------------------------------------------------------- 11: five simulated annotators

ANIMAL_METHODS = (
    "true-labels", "majority-vote", "dawid-skene", "dl-em", "dl-em-released", "doctornet", "weighted-doctornet", *LAYERS
)  # fmt: skip
ANIMAL_EPOCHS = {"smoke": 1, "quick": 15, "overnight": 47, "fast": 30, "paper": 30}
SHOWN_SEEDS = 3


def simulated_annotators(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method with every seed; a seed has annotators of its own, the same for all methods. The Crowd Layer's first runs
    keep its weights."""
    data, options, backbone, backbone_options = _animals(scale)
    recipe = Recipe(epochs=ANIMAL_EPOCHS[scale], batch_size=64 if scale == "fast" else 16, lr=1e-3)
    about = {"backbone_options": backbone_options, "case": "five annotators", "scale": scale}
    configs = [
        RunConfig("cats_dogs", data, method, backbone, recipe, options | {"crowd_seed": seed}, seed=seed, **about)
        for seed in seeds
        for method in ANIMAL_METHODS
    ]
    shown = seeds[:SHOWN_SEEDS]
    return keeping(configs, ("weight",), lambda config: config.method == "crowdlayer-mw" and config.seed in shown)


def _animals(scale: str) -> tuple[str, dict, str, dict]:
    """Data set with options, backbone with options."""
    if scale in ("smoke", "quick", "overnight"):
        part = {"n_train": 200, "n_test": 100} if scale == "smoke" else {}
        return "cats_dogs", part | {"test": HELD_OUT, "features": image_features.NAME}, "mlp", {}
    if (own := dogs_vs_cats.folder()) is not None:
        return "dogs_vs_cats", {"collection": dogs_vs_cats.digest(own)}, "dogs-vs-cats", {}
    return "cats_dogs", {"test": HELD_OUT}, "dogs-vs-cats", {"padding": 1}


# ---------------------------------------------------------------------- 12: movie reviews

RATING_LAYERS = ("crowdlayer-s", "crowdlayer-b", "crowdlayer-sb")
RATING_METHODS = ("true-ratings", "ratings-mean", "ratings-em", *RATING_LAYERS)
# Whose biases are drawn, of the first seed.
SHOWN_BIASES = (("ratings-em", "real"), ("crowdlayer-b", "released, fixed"), ("crowdlayer-sb", "released, fixed"))

RATING_TUNING_SEEDS = 3
BUDGETS = (5, 10, 20)  # epochs; a shorter run is the beginning of a longer one
PRIOR = 2.0  # ratings without bias that every annotator of a layer is thought to have given; half gave fewer than seven
RATING_OPTIONS = {
    "ratings-mean": ({},),
    "ratings-em": tuple({"prior": prior} for prior in (0.5, 2.0, 8.0)),
} | dict.fromkeys(RATING_LAYERS, tuple({"annotator_lr": rate, "prior": PRIOR} for rate in (1.0, 10.0)))

# What was chosen.
RATING_EPOCHS = 10
RATING_CHOSEN = {"ratings-em": {"prior": 0.5}} | {layer: {"annotator_lr": 1.0, "prior": PRIOR} for layer in RATING_LAYERS}
RELEASED_EPOCHS = 100
TRUTH = {"center": 0.57382, "scale": 0.18292}  # mean and deviation of the training reviews' true ratings


def movie_reviews(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All methods (case ``real``); the authors' settings (``as released``), the layers also with constant and factor fixed
    (``released, fixed``), and EM, whose constant always is; and the choice of the options, with the first three seeds."""
    cases = [("real", method, RATING_CHOSEN.get(method, {})) for method in RATING_METHODS]
    cases += [("as released", method, TRUTH) for method in ("true-ratings", "ratings-mean")]
    cases += [("as released", method, TRUTH | {"free": True}) for method in RATING_LAYERS]
    cases += [("released, fixed", method, TRUTH) for method in RATING_LAYERS]
    cases.append(("released, fixed", "ratings-em", TRUTH | RATING_CHOSEN["ratings-em"]))  # the authors released none
    configs = [
        _reviews(method, scale, seed, options, RATING_EPOCHS if case == "real" else RELEASED_EPOCHS, case)
        for case, method, options in cases
        for seed in seeds
    ]
    configs = keeping(configs, ("bias",), lambda c: (c.method, c.case) in SHOWN_BIASES and c.seed == seeds[0])
    return configs + review_tuning(scale, seeds[:RATING_TUNING_SEEDS])


def review_tuning(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every option of every method, with a validation part of its own for each seed; the case says it: ``annotator_lr 10,
    prior 2``."""
    return [
        replace(
            _reviews(method, scale, seed, options, BUDGETS[-1]),
            experiment="moviereviews_tuning",
            case=", ".join(f"{name} {value:g}" for name, value in options.items()) or "no option",
            dataset_options={"validation": 0.2, "seed": seed},
        )
        for method, choices in RATING_OPTIONS.items()
        for options in choices
        for seed in seeds
    ]


def review_budget(rows: Sequence[dict]) -> int:
    """The number of epochs, of :data:`BUDGETS`, at which the *mean of the ratings* has its least validation RMSE in rows of
    :func:`review_tuning`: the baseline gets what suits it, and all methods get the same."""
    baseline = [row["history"]["valid_rmse"] for row in rows if row["config"]["method"] == "ratings-mean"]
    return min(BUDGETS, key=lambda epochs: round(sum(history[epochs - 1] for history in baseline), 4))


def review_options(rows: Sequence[dict], epochs: int) -> dict[str, dict]:
    """The options with the least mean validation RMSE after so many epochs of :func:`review_tuning`, by method; the first of
    those that are equal to four digits."""
    errors = selection.scores(
        (
            (method, RATING_OPTIONS[method].index(row["config"]["method_options"]), -row["history"]["valid_rmse"][epochs - 1])
            for row in rows
            for method in [row["config"]["method"]]
        ),
        digits=4,
    )
    return {method: RATING_OPTIONS[method][selection.best(tried)] for method, tried in errors.items() if len(tried) > 1}


def _reviews(method: str, scale: str, seed: int, options: dict, epochs: int, case: str = "real") -> RunConfig:
    recipe = at_scale(Recipe(epochs=epochs, batch_size=128, lr=1e-3), scale)
    about = {"method_options": options, "case": case, "scale": scale, "seed": seed}
    return RunConfig("moviereviews", "moviereviews", method, recipe=recipe, **about)


# ---------------------------------------------------------------------- 13: named entities

ENTITY_METHODS = ("true-labels", "majority-vote", "dawid-skene", "dl-em", *LAYERS)
PRETRAIN = 5
FROM_SCRATCH = "no start on votes"
ENTITY_QUICK = Recipe(epochs=15, batch_size=64, lr=8e-3)
ENTITY_PAPER = Recipe(epochs=30, batch_size=64, lr=1e-3)
PAPER_EPOCHS = {"true-labels": 20, "majority-vote": 10, "dawid-skene": 10}
PAPER_SIZES = {"dimension": 300, "channels": 512}

# The rate, for all methods together, on a fifth of the training sentences set aside.
RATES = (2e-3, 4e-3, 8e-3, 16e-3)
RATE_METHODS = ("majority-vote", "dl-em", "crowdlayer-mw")
RATE_SEED = 100


def named_entities(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All methods, the Crowd Layer without its first stage, and the choice of the rate."""
    configs = entity_runs(ENTITY_METHODS, scale, seeds) + entity_runs(["crowdlayer-mw"], scale, seeds, pretrain=0)
    return configs + rate_tuning(scale)


def entity_runs(
    methods: Iterable[str], scale: str, seeds: Iterable[int], pretrain: int = PRETRAIN, **dataset_options
) -> list[RunConfig]:
    """Methods with every seed; ``pretrain`` are the Crowd Layer's epochs on the majority vote."""
    data, sizes = dataset_options, PAPER_SIZES if scale == "paper" else {}
    first, case = pretrain, "real" if pretrain == PRETRAIN else FROM_SCRATCH
    if scale == "smoke":
        data, first = {"sentences": 200} | dataset_options, min(pretrain, 1)
    about = {"dataset_options": data, "backbone_options": sizes, "case": case, "scale": scale}
    configs = []
    for method in methods:
        paper = replace(ENTITY_PAPER, epochs=PAPER_EPOCHS.get(method, ENTITY_PAPER.epochs))
        recipe = at_scale(paper if scale == "paper" else ENTITY_QUICK, scale)
        options = {"pretrain": first} if method in LAYERS else {}
        run = RunConfig("conll_ner", "conll_ner", method, "tagger", recipe, method_options=options, **about)
        configs += [replace(run, seed=seed) for seed in seeds]
    return configs


def rate_tuning(scale: str) -> list[RunConfig]:
    """Every rate of :data:`RATES` for three methods, at ``quick`` only: at ``paper`` the rate is the paper's, and ``smoke``
    has no use for it."""
    if scale != "quick":
        return []
    return [
        replace(config, experiment="tuning_ner", recipe=replace(config.recipe, lr=rate), case=f"rate {rate:g}")
        for rate in RATES
        for config in entity_runs(RATE_METHODS, scale, [RATE_SEED], validation=0.2)
    ]


def rate_scores(rows: Sequence[dict]) -> dict[float, float]:
    """The score of each rate in rows of :func:`rate_tuning`: F1 on the validation sentences against their true tags, in the
    last five epochs on average; the mean over methods. The best rate is the smallest of equals."""
    trials = ((None, row["config"]["recipe"]["lr"], selection.late(row, "valid_f1", 5)) for row in rows)
    return selection.scores(trials).get(None, {})


# ---------------------------------------------------------------------- 14: sentences

SENTENCES = "sentiment_polarity"
HELD_OUT_METHODS = ("true-labels", "majority-vote", "dawid-skene", "dl-em", "crowdlayer-mw")
FEATURES = {"tfidf": "bag of words", "minilm": "sentence vectors"}


def sentiment(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The leaderboard's runs on these data (at ``smoke`` a few of them), then :func:`held_out` with the features there are."""
    methods = HELD_OUT_METHODS if scale == "smoke" else overview.METHODS
    compared = real_crowds.runs(SENTENCES, methods, scale, seeds[: overview.SENTIMENT_SEEDS])
    there = [features for features in FEATURES if features == "tfidf" or sentence_vectors.available() is None]
    return compared + [config for features in there for config in held_out(features, scale, seeds)]


def held_out(features: str, scale: str, seeds: Iterable[int]) -> list[RunConfig]:
    """Runs that are scored on sentences set aside; a seed sets aside its own. The case names the features: on sentence vectors
    all methods are compared, on a bag of words five of them."""
    methods = HELD_OUT_METHODS if features == "tfidf" or scale == "smoke" else overview.METHODS
    options = {"validation": 0.2} | ({} if features == "tfidf" else {"features": features})
    return [
        replace(config, dataset_options=options | {"seed": config.seed})
        for config in real_crowds.runs(SENTENCES, methods, scale, seeds, case=FEATURES[features])
    ]
