"""Movie reviews: how good a film is in its review's words, rated on Amazon Mechanical Turk.

Rodrigues, Lourenco, Ribeiro & Pereira (IEEE TPAMI 2017), reviews of Pang & Lee (ACL 2005). 1500 training reviews with the
author's own rating between 0 and 1 as the truth; 135 annotators gave 7440 ratings (between -0.1 and 1.1), four or five a
review; 3506 test reviews. Published are the reviews' words and how often each occurs, without their order.

The crowd is harsh: a rating lies 0.03 below the truth on average, which nothing in the ratings tells.
"""

import numpy as np
import torch

from lib.crowd.labels import CrowdRatings
from lib.datasets import download, register
from lib.datasets.kinds import RatingDataset

FILES = [
    "moviereviews/data_train_amt.txt",
    "moviereviews/data_test.txt",
    "moviereviews/labels_train_amt.txt",
    "moviereviews/labels_test.txt",
    "moviereviews/answers.txt",
]
MISSING = 999999999
MIN_REVIEWS = 10  # a word is kept that occurs in so many training reviews: 3193 of 17118


@register("moviereviews", title="MovieReviews", files=FILES, revision=1, kind=RatingDataset)
def load() -> dict:
    """The fields of the data set, with the published number of each kept word as ``words``.

    Features are TF-IDF weights: logarithmic counts times the logarithm of rarity, rows of length one. Which words are kept,
    and their weights, come from the training reviews alone.
    """
    from sklearn.datasets import load_svmlight_file
    from sklearn.feature_extraction.text import TfidfTransformer

    train_file, test_file, y_file, y_test_file, answers_file = (download.path(file) for file in FILES)
    # A line is ``n word:count word:count ...``, which is the format of SVMlight with the number of words as a label.
    counts, counts_test = (load_svmlight_file(str(file), zero_based=True)[0] for file in (train_file, test_file))
    reviews = np.bincount(counts.indices, minlength=counts.shape[1])  # an entry a word and review
    words = np.flatnonzero(reviews >= MIN_REVIEWS)
    weigh = TfidfTransformer(sublinear_tf=True, norm="l2")
    x = weigh.fit_transform(counts[:, words])
    # A word of the test reviews alone has no column in the training matrix, and would have no weight.
    x_test = weigh.transform(counts_test[:, words])
    return {
        "x": torch.from_numpy(x.toarray().astype(np.float32)),
        "y": torch.from_numpy(np.loadtxt(y_file, dtype=np.float32)),
        "x_test": torch.from_numpy(x_test.toarray().astype(np.float32)),
        "y_test": torch.from_numpy(np.loadtxt(y_test_file, dtype=np.float32)),
        "crowd": CrowdRatings.from_dense(np.loadtxt(answers_file), missing=MISSING),
        "extra": {"words": tuple(words.tolist())},
    }
