"""One configuration, one key, one row: training many runs and keeping them."""
