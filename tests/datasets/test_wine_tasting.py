"""The example of notebook 01 is what its code makes, and is read like anybody's files."""

from lib.datasets import wine_tasting
from lib.own_data.features import Source, read_source
from lib.own_data.intake import read_labels


def test_the_committed_example_is_the_one_that_is_made(tmp_path):
    wine_tasting.write(tmp_path)
    assert sorted(path.name for path in wine_tasting.FOLDER.iterdir()) == ["features.csv", "labels.csv"]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (wine_tasting.FOLDER / path.name).read_bytes()


def test_the_example_is_read_like_anybodys_files():
    intake = read_labels(wine_tasting.FOLDER / "labels.csv")
    features, arranged, source = read_source(intake, Source("columns"), wine_tasting.FOLDER / "features.csv")
    assert features.shape == (178, 13)
    assert len(source.columns) == 13
    assert (arranged.crowd.labels_per_item == 0).sum() == wine_tasting.UNTASTED
    assert len(arranged.crowd) == len(wine_tasting.wine()[0])
