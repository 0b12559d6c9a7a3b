"""Beliefs about items and annotators without a network: votes, Dawid-Skene, GLAD, MACE, ratings, and the annotators' report."""
