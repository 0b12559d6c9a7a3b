"""Figures in one style: charts, matrices, crowds."""
