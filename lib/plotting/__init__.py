"""Figures in one style: charts, matrices, crowds, pictures of the models."""
