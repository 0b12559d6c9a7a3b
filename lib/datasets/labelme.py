"""LabelMe: photographs of eight kinds of scenes, labeled on Amazon Mechanical Turk.

Rodrigues & Pereira, "Deep learning from crowds" (AAAI 2018). 1000 training, 500 validation and 1188 test images; 59
annotators gave 2547 labels, of which 74.05 % are right. The features are VGG-16's last convolutional layer, averaged
over the image: 512 numbers, not scaled (0 .. 104). The paper flattens the 4 x 4 grid instead: 8192 numbers.
"""

import numpy as np
import torch

from lib.crowd.labels import CrowdLabels
from lib.datasets import download, register

PARTS = {"train": "", "valid": "_valid", "test": "_test"}
FILES = [
    "labelme/answers.txt",
    *(f"labelme/{stem}_{part}.{end}" for part in PARTS for stem, end in (("LabelMe_VGG_avg", "npy"), ("LabelMe_Z", "txt"))),
    *(f"labelme/filenames_{part}.txt" for part in PARTS),
]


@register("labelme", title="LabelMe", files=FILES, revision=1)
def load() -> dict:
    """The fields of the data set; ``images``, ``images_valid``, ``images_test``, ``item_names`` are file names."""
    fields, images, classes = {}, {}, {}
    for part, suffix in PARTS.items():
        y = np.loadtxt(download.path(f"labelme/LabelMe_Z_{part}.txt"), dtype=np.int64)
        names = tuple(download.path(f"labelme/filenames_{part}.txt").read_text(encoding="utf-8").split())
        classes |= {k: name.split("_")[0] for name, k in zip(names, y.tolist(), strict=True)}  # street_hexp30.jpg is a street
        fields[f"x{suffix}"] = torch.from_numpy(np.load(download.path(f"labelme/LabelMe_VGG_avg_{part}.npy"))).float()
        fields[f"y{suffix}"] = torch.from_numpy(y)
        images[f"images{suffix}"] = names
    class_names = tuple(classes[k] for k in sorted(classes))
    answers = np.loadtxt(download.path("labelme/answers.txt"), dtype=np.int64)
    names = {"item_names": images["images"], "class_names": class_names}
    crowd = CrowdLabels.from_dense(answers, n_classes=len(class_names), **names)
    return {**fields, "crowd": crowd, "class_names": class_names, "extra": images}
