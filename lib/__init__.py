"""Learning from crowds: the small library behind the notebooks.

Data goes one way: ``datasets`` or ``simulate`` make crowd labels, ``methods`` learn from them through the one loop in
``training``, ``runs`` keeps one ledger row a run, ``report`` and ``plots`` set the rows beside the papers.
"""
