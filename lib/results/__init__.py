"""From finished runs to tables, claims and verdicts beside the papers' numbers."""
