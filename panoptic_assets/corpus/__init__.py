"""The corpus: which images there are, and how they are named."""
