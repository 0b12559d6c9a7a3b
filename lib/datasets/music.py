"""Music genres: 30-second clips of ten genres, labeled on Amazon Mechanical Turk.

Rodrigues, Pereira & Ribeiro (Pattern Recognition Letters 2013). 700 training and 300 test clips with 124 audio
features; 44 annotators gave 2945 labels, of which 56.03 % are right.
"""

import pandas as pd
import torch

from lib.crowd.labels import CrowdLabels
from lib.datasets import download, register

FILES = ["music/music_genre_gold.csv", "music/music_genre_mturk.csv", "music/music_genre_test.csv"]


@register("music", title="Music", files=FILES, revision=1)
def load() -> dict:
    """The fields of the data set; classes and annotators are in alphabetical order, clips as in the file of the truth.

    Of the published features the training mean is taken off, and they are divided by the training clips' (population)
    standard deviation; one that does not vary is divided by 1.
    """
    gold, answers, test = (pd.read_csv(download.path(file)) for file in FILES)
    features = [column for column in gold.columns if column.startswith("feature")]
    classes = sorted(gold["class"].unique())
    crowd = CrowdLabels.from_frame(answers, item="id", label="class", items=gold["id"].tolist(), classes=classes)
    x, x_test = (part[features].to_numpy(dtype="float64") for part in (gold, test))
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation == 0] = 1
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    codes = {name: code for code, name in enumerate(classes)}
    return {
        "x": torch.from_numpy(x).float(),
        "y": torch.tensor(gold["class"].map(codes).tolist()),
        "x_test": torch.from_numpy(x_test).float(),
        "y_test": torch.tensor(test["class"].map(codes).tolist()),
        "crowd": crowd,
        "class_names": tuple(classes),
        "extra": {"clips": tuple(gold["id"]), "clips_test": tuple(test["id"])},
    }
