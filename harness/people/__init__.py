"""Students and authors, with and without a browser."""
