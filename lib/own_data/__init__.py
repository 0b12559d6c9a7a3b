"""Your own labels in; a classifier, a report on the annotators and cleaned labels out.

    outcome = own_data.fit("labels.csv", own_data.Source("columns"), "features.csv")
    outcome.tables["cleaned_labels"]
    own_data.write(outcome, "folder")
    outcome.classifier.predict_proba(features)
    outcome.classifier.save(path);  own_data.load(path)

Or in one command: ``python -m lib.own_data --help``.
"""

from lib.own_data.classifier import Classifier, load
from lib.own_data.columns import Options
from lib.own_data.features import Source, read_numbers
from lib.own_data.folder import write
from lib.own_data.intake import read_labels
from lib.own_data.outcome import Outcome, fit
from lib.own_data.tables import Refusal

__all__ = ["Classifier", "Options", "Outcome", "Refusal", "Source", "fit", "load", "read_labels", "read_numbers", "write"]
