"""Learning from crowds: the small library behind the notebooks, a room a folder. An import goes down this list, never up.

``paths``, ``storage``, ``registry``   the ground: every folder, atomic writes, names to things
``losses``         pure functions on tensors that training minimizes
``crowd``          who said what: labels, ratings and tag sequences, validated once
``networks``       classifiers by name; predictions in batches that fit
``simulation``     made-up annotators on top of true labels, one file a paper
``datasets``       published data by name; download, image files, batches on a device
``aggregation``    beliefs without a network: votes, Dawid-Skene, GLAD, MACE, the annotators' report
``methods``        one file a method; ``methods/__init__.py`` is the catalogue
``training``       recipe, the one loop, device, scores
``runs``           one configuration, one key, one row: sweep, schedule, workers, ledger
``protocols``      which runs a notebook needs, and where each hyper-parameter comes from
``results``        rows to tables, the papers' numbers, claims, ranks, drift, the README's generated parts
``plotting``       figures in one style
``own_data``       your own labels in; a classifier, a report and cleaned labels out
``reproduce``      ``python -m lib.reproduce``: the notebooks again, headless
``site``           ``make site``: notebooks, claims, figures and docstrings as pages

Data goes one way: ``datasets`` or ``simulation`` make crowd labels, ``methods`` learn from them through the one loop in
``training``, ``runs`` keeps one ledger row a run, ``results`` and ``plotting`` set the rows beside the papers.
"""
