"""peerannot's aggregators, from the dictionaries that they take (making those costs it nothing here)."""

from importlib.metadata import version as version_of

import numpy as np


def version() -> str:
    return version_of("peerannot")


def _answers(data: dict) -> dict[int, dict[int, int]]:
    answers: dict[int, dict[int, int]] = {}
    for item, annotator, label in zip(data["item"].tolist(), data["annotator"].tolist(), data["label"].tolist(), strict=True):
        answers.setdefault(item, {})[annotator] = label
    return answers


def majority_vote(data: dict):
    from peerannot.models.aggregation.majority_voting import MajorityVoting

    answers, classes = _answers(data), int(data["n_classes"])

    def run() -> dict[str, np.ndarray]:
        model = MajorityVoting(answers, n_classes=classes)
        model.get_answers()
        counts = np.array(model.baseline)
        return {"posterior": counts / counts.sum(axis=1, keepdims=True)}

    return run


def dawid_skene(data: dict, iterations: int):
    from peerannot.models.aggregation.dawid_skene import DawidSkene

    answers, sizes = _answers(data), {"n_workers": int(data["n_annotators"]), "n_classes": int(data["n_classes"])}

    def run() -> dict[str, np.ndarray]:
        model = DawidSkene(answers, **sizes)
        model.run(epsilon=0.0, maxiter=iterations)
        return {"posterior": np.asarray(model.T)}

    return run


def glad(data: dict, iterations: int, tolerance: float, m_steps: int):
    from peerannot.models.aggregation.glad import GLAD

    answers, sizes = _answers(data), {"n_workers": int(data["n_annotators"]), "n_classes": int(data["n_classes"])}

    def run() -> dict[str, np.ndarray]:
        model = GLAD(answers, **sizes)
        model.EM(tolerance, iterations)
        return {"posterior": np.asarray(model.probZ)}

    return run
