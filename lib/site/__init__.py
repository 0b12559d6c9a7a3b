"""The readers' site, made from what is committed: notebooks, claims, figures, docstrings. Nothing is executed.

``python -m lib.site`` (``make site``) writes Sphinx's sources into ``build/site-sources`` and the pages into ``build/site``.
It runs in an environment of its own, ``.venv-site``, which has no torch: from the rest of ``lib`` it imports what needs none.
"""
