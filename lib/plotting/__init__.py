"""Figures: pictures of the models here, charts beside them."""
