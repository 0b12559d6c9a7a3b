"""From labels to tables and sentences: who guesses, what is tied, how many labels are wrong, and what cannot be told."""

import re

import numpy as np
import pandas as pd
import pytest

from lib.aggregation import fusion
from lib.own_data import Options, fit, page, report
from lib.own_data.classifier import HeldOut
from lib.own_data.intake import read_labels
from lib.own_data.outcome import assemble


def table(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["item", "annotator", "label"])


def labels(per_item=3, n_items=60, seed=0, names=("ann", "ben", "cy", "dee"), classes=("cat", "dog")):
    """True classes, and labels of annotators of whom each is worse than the one before."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_items) % len(classes)
    rows = [
        (f"item {i}", names[who], classes[y[i] if rng.random() < 0.9 - 0.1 * who else rng.integers(len(classes))])
        for i in range(n_items)
        for who in rng.permutation(len(names))[:per_item]
    ]
    return y, table(rows)


def test_too_little_overlap_is_said_and_nothing_is_claimed():
    found = fit(labels(per_item=1)[1])
    told, warned = page.sentences(found)
    assert "Too few items have two labels" in warned[0]
    assert any("4 groups that share no items" in text for text in warned)
    for name, column in (("cleaned_labels", "confidence"), ("annotators", "accuracy"), ("label_quality", "score")):
        assert found.tables[name][column].isna().all()
    assert (found.tables["cleaned_labels"]["label"].to_numpy() == found.tables["cleaned_labels"]["majority_vote"]).all()
    assert not any("right with probability" in text for text in told)


def test_ties_are_shown_and_do_not_hang_on_names():
    sides = [("cat", "dog"), ("dog", "cat")]
    frame = table([(f"i{n}", who, label) for n in range(40) for who, label in zip("ab", sides[n % 2 - 1], strict=True)])
    found = fit(frame)
    first = found.tables["cleaned_labels"]
    renamed = fit(frame.replace({"label": {"cat": "xcat"}, "annotator": {"a": "z"}})).tables["cleaned_labels"]
    assert first["tied"].all()
    assert set(first["majority_vote"]) == {"cat|dog"}
    assert first.set_index("item")["label"].to_dict() == renamed.replace("xcat", "cat").set_index("item")["label"].to_dict()
    assert any("no more than by chance" in text for text in page.sentences(found)[1])


def test_known_classes_cure_a_shared_error_and_are_not_asked_for_again():
    y, frame = labels(classes=("a", "b", "c"), n_items=90)
    shifted = frame.replace({"label": {"a": "b", "b": "c", "c": "a"}})
    known = {f"item {i}": "abc"[y[i]] for i in range(30)}
    found = fit(shifted.assign(gold=shifted["item"].map(known).fillna("")), options=Options(known_column="gold"))
    cleaned = found.tables["cleaned_labels"].set_index("item")
    assert np.mean([cleaned.loc[f"item {i}", "label"] == "abc"[y[i]] for i in range(90)]) > 0.9
    assert set(found.tables["to_relabel"]["item"]).isdisjoint(known)
    assert cleaned["known"].sum() == 30


def test_the_number_of_wrong_labels_is_a_range_and_measured_where_classes_are_known():
    y, frame = labels(per_item=4, n_items=120)
    found = fit(frame)
    told, warned = page.sentences(found)
    low, middle, high = found.wrong()
    assert 0 <= low < middle < high
    assert middle == pytest.approx((1 - found.tables["cleaned_labels"]["confidence"]).sum())
    said = f"About {middle:,.0f} of the 120 cleaned labels are expected to be wrong: from {low:,.0f}, if annotators err indep"
    assert any(text.startswith(said) for text in told)
    assert any("find out the classes of 50 or more items" in text for text in warned)
    known = pd.Series(np.array(["cat", "dog"])[y[:40]], [f"item {i}" for i in range(40)])
    measured = fit(frame.assign(gold=frame["item"].map(known).fillna("")), options=Options(known_column="gold"))
    told, warned = page.sentences(measured)
    assert any("measured by hiding known classes" in text for text in told)
    assert not any("find out the classes" in text for text in [*told, *warned])


def test_shared_errors_that_labels_show_are_said_first():
    rng = np.random.default_rng(0)
    rows = []
    for item in range(400):
        true, tempting = rng.permutation(5)[:2]
        for who in range(6):
            said = tempting if item % 5 == 0 and rng.random() < 0.6 else true if rng.random() < 0.8 else rng.integers(5)
            rows.append((item, f"w{who}", f"c{said}"))
    told, _ = page.sentences(fit(table(rows)))
    assert told[1].startswith("Annotators appear to share errors")
    assert "--known FILE" in told[1]


def test_who_guesses_looks_random_and_who_mixes_up_classes_does_not():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    says = {f"good {a}": np.where(rng.random(240) < a, y, rng.integers(0, 3, 240)) for a in (0.9, 0.89, 0.85)}
    says |= {"swaps": np.array([1, 0, 2])[y], "guesses": rng.integers(0, 3, 240), "constant": np.zeros(240, dtype=int)}
    frame = table([(i, who, f"c{said[i]}") for who, said in says.items() for i in range(240)])
    people = fit(frame).tables["annotators"].set_index("annotator")
    assert people["looks_random"].to_dict() == {who: who in ("guesses", "constant") for who in says}
    assert "c0 → c1" in people.loc["swaps", "confusions"]


def test_who_is_asked_is_the_best_who_has_not_labeled_the_item():
    frame = labels(per_item=2, n_items=80)[1]
    found = fit(frame)
    ranking, people = found.tables["to_relabel"], found.tables["annotators"].set_index("annotator")
    have = set(frame[["item", "annotator"]].itertuples(index=False, name=None))
    assert have.isdisjoint(ranking[["item", "ask"]].itertuples(index=False, name=None))
    best = people["ci_low"].idxmax()
    free = ~ranking["item"].isin(frame.loc[frame["annotator"] == best, "item"])
    assert (ranking.loc[free, "ask"] == best).all()
    assert (np.diff(ranking["gain"]) <= 1e-9).all()


def test_nobody_is_asked_without_grounds():
    unknown = fit(labels(per_item=1)[1])
    assert (unknown.tables["to_relabel"]["ask"] == "").all()
    assert "Any annotator may be asked: the labels do not tell who is better" in page.report_page(unknown)
    # Who guesses, who contradicts everybody, and who has nothing to be compared with: the only ones left on some items.
    rng = np.random.default_rng(0)
    y, coin = rng.integers(0, 2, (2, 200))
    says = {"ann": y, "ben": np.where(rng.random(200) < 0.9, y, 1 - y), "guesses": coin, "contradicts": 1 - y}
    rows = [(i, who, f"c{said[i]}") for who, said in says.items() for i in range(200) if who in ("ann", "ben") or i < 150]
    rows += [(i, "alone", "c0") for i in range(200, 205)]
    found = fit(table(rows))
    people = found.tables["annotators"].set_index("annotator")
    assert people.loc["alone", "n_judged"] == 0
    asked = found.tables["to_relabel"].assign(item=lambda t: t["item"].astype(int)).set_index("item")["ask"]
    assert set(asked[asked.index < 200]) == {""}
    assert set(asked[asked.index >= 200]) == {people["ci_low"].idxmax()}


def test_the_classifier_is_nowhere_counted_as_one_of_the_people():
    names = ["classifier", *(f"who {i}" for i in range(44))]
    y, frame = labels(names=names, n_items=400, classes=("cat", "dog"))
    frame["label"] = frame["label"].where(np.arange(len(frame)) % 10 > 0, "cat")
    intake = read_labels(frame)
    place = [int(name.split()[1]) for name in intake.crowd.item_names]
    held = HeldOut("majority-vote", np.eye(2)[y[place]] * 0.8 + 0.1, {"majority-vote": 0.7})
    found = assemble(intake, held)
    people, quality = found.tables["annotators"], found.tables["classifier_quality"]
    assert sorted(people["annotator"]) == sorted(names)
    assert people["n_labels"].sum() == len(frame)
    assert people["looks_random"].dtype == bool
    assert quality.loc[0, ["method", "n_items", "n_judged", "agreement"]].tolist() == ["majority-vote", 400, 400, 0.7]
    assert quality.loc[0, "ci_low"] < quality.loc[0, "accuracy"] < quality.loc[0, "ci_high"]
    told, _ = page.sentences(found)
    assert told[0].startswith("45 annotators gave 1,200 labels")
    assert any("The classifier (Majority vote) agrees with 70 % of labels it never saw. Judged" in text for text in told)
    titles = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "_image", lambda fig, alt: titles.append([axis.get_title() for axis in fig.axes]) or "")
        html = page.report_page(found)
    assert titles[0] == ["The 20 most and the 20 least accurate of 45"]
    assert "The first 20 of 45 rows; all are in annotators.csv." in html
    assert ["Majority vote", "400", "400", "70.0"] in [row[:4] for row in cells(html)[1]]
    assert set(found.tables["agreement"]["first"]) <= {"", *names}
    assert set(found.tables["to_relabel"]["ask"]) <= {"", *names}


def test_where_matrices_would_not_fit_there_is_one_accuracy_an_annotator(monkeypatch):
    monkeypatch.setattr(fusion, "NUMBERS_AT_MOST", 3 * 3 * 4 - 1)
    monkeypatch.setattr(report, "NUMBERS_AT_MOST", 3 * 3 * 4 - 1)
    y = np.arange(300) % 3
    frame = table([(i, f"w{k}", f"c{(y[i] + (k == 3)) % 3}") for i in range(300) for k in range(4)])  # the last is always wrong
    found = fit(frame)
    assert found.estimate.model == "one coin"
    people = found.tables["annotators"]
    assert people["p_guessing"].isna().all()
    assert (people["confusions"] == "").all()
    monkeypatch.undo()
    assert fit(frame).estimate.model == "full matrices"


def cells(html: str) -> list[list[list[str]]]:
    """The cells of each row of each table of a page."""
    tables = [re.findall("<tr>(.*?)</tr>", part) for part in re.findall("<table>(.*?)</table>", html)]
    return [[re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows] for rows in tables]


def test_the_page_shows_percent_and_units_in_tables_that_scroll_by_themselves():
    found = fit(labels(names=[f"who {i}" for i in range(8)], classes=("a", "b", "c"))[1])
    html = page.report_page(found)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert html.count("<table>") == html.count("<div class=wide><table>") == 4
    people, ranking, cleaned, agreement = cells(html)
    assert people[0] == ["annotator", "labels", "accuracy (%)", "95 % interval", "confusions"]  # nobody looks random
    worst = found.tables["annotators"].sort_values(["looks_random", "ci_high"], ascending=[False, True]).iloc[0]
    assert people[1][2:4] == [f"{100 * worst.accuracy:.1f}", f"{100 * worst.ci_low:.1f} to {100 * worst.ci_high:.1f}"]
    assert ranking[0] == ["item", "labels", "label", "confidence (%)", "runner up", "gain (bits)", "best to ask"]
    assert cleaned[0] == ["item", "label", "confidence (%)", "labels", "votes for it", "majority vote"]
    alpha = found.tables["agreement"].iloc[0]
    assert agreement[1][:1] == ["Krippendorff&#x27;s alpha"]
    assert f"{alpha.ci_low:.2f} to {alpha.ci_high:.2f}" in agreement[1]
    assert [int(row[3]) for row in agreement[2:]] == sorted((int(row[3]) for row in agreement[2:]), reverse=True)
    assert "<code>--known FILE</code>, <code>--known-column COLUMN</code> or <code>--trusted ANNOTATOR</code>" in html


def test_a_page_without_accuracies_has_no_empty_columns():
    html = page.report_page(fit(labels(per_item=1)[1]))
    people, ranking, agreement = cells(html)
    assert people[0] == ["annotator", "labels"]
    assert ranking[0] == ["item", "labels", "label"]
    assert agreement[1][0] == "Krippendorff&#x27;s alpha"
    assert "All cleaned labels are those of the majority vote" in html
    assert "First come the items with the fewest labels" in html


def test_of_many_who_guess_five_are_named_and_the_others_counted():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    says = {f"good {i}": np.where(rng.random(240) < 0.9, y, rng.integers(0, 3, 240)) for i in range(6)}
    says |= {f"guesses {i}": rng.integers(0, 3, 240) for i in range(7)}
    told, _ = page.sentences(fit(table([(i, who, f"c{said[i]}") for who, said in says.items() for i in range(240)])))
    assert told[-1] == f"Annotators who seem to guess (7): {', '.join(f'guesses {i}' for i in range(5))} and 2 more."
