"""Sentiment polarity: sentences of film reviews, positive or negative, labeled on Amazon Mechanical Turk.

Rodrigues, Pereira & Ribeiro (Pattern Recognition Letters 2013). 4999 training sentences; 203 annotators gave 27746
labels, of which 78.95 % are right.

The 3999 published test texts are another kind: mostly phrases (6 words in the median, against 19 in training), and two
fifths of them occur word for word inside a training sentence. So test accuracy is lower than on held-out training
sentences (about 66 % against 72 % for logistic regression on the true classes), and not independent of training. For a
cleaner figure beside it, ask for a validation part: ``load("sentiment_polarity", validation=0.2)``.
"""

import numpy as np
import torch

from lib.crowd.labels import CrowdLabels
from lib.datasets import download, register, sentence_vectors
from lib.registry import choice

FILES = [
    "sentiment_polarity/Sentiment_text_train.txt",
    "sentiment_polarity/Sentiment_text_test.txt",
    "sentiment_polarity/Sentiment_Z_train.txt",
    "sentiment_polarity/Sentiment_Z_test.txt",
    "sentiment_polarity/answers.txt",
]
CLASSES = ("negative", "positive")


@register("sentiment_polarity", title="Sentiment polarity", files=FILES, revision=1)
def load(max_features: int | None = 2000, features: str = "tfidf") -> dict:
    """The fields of the data set, with the sentences themselves as ``texts`` and ``texts_test``.

    Features ``tfidf`` are TF-IDF weights (logarithmic counts, rows of length one) of words that occur in at least two
    training sentences; vocabulary and weights come from the training sentences alone. A sentence without any such word is
    all zeros. Features ``minilm`` are the vectors of a small pretrained network, see :mod:`lib.datasets.sentence_vectors`.

    Args:
        max_features: the most frequent words to keep; None keeps all (6239).
        features: ``tfidf`` or ``minilm``.

    Raises:
        ValueError: other features.
        ModuleNotFoundError: the pretrained network is not installed; says how to.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    choice("features", features, ("tfidf", "minilm"))
    train_file, test_file, y_file, y_test_file, answers_file = (download.path(file) for file in FILES)
    texts, texts_test = _lines(train_file), _lines(test_file)
    if features == "tfidf":
        vectorizer = TfidfVectorizer(sublinear_tf=True, norm="l2", min_df=2, max_features=max_features, dtype=np.float32)
        x, x_test = vectorizer.fit_transform(texts).toarray(), vectorizer.transform(texts_test).toarray()
        vocabulary = tuple(vectorizer.get_feature_names_out())
    else:
        x, x_test, vocabulary = sentence_vectors.sentences(texts), sentence_vectors.sentences(texts_test), ()
    answers = np.loadtxt(answers_file, dtype=np.int64)
    return {
        "x": torch.from_numpy(x),
        "y": torch.from_numpy(np.loadtxt(y_file, dtype=np.int64)),
        "x_test": torch.from_numpy(x_test),
        "y_test": torch.from_numpy(np.loadtxt(y_test_file, dtype=np.int64)),
        "crowd": CrowdLabels.from_dense(answers, n_classes=len(CLASSES), class_names=CLASSES),
        "class_names": CLASSES,
        "extra": {"texts": texts, "texts_test": texts_test, "vocabulary": vocabulary},
    }


def _lines(file) -> tuple[str, ...]:
    """One text a line. Not ``splitlines``, which also cuts at characters that occur inside a sentence."""
    return tuple(line.strip() for line in file.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
