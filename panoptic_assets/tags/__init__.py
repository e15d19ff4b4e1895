"""Saved clusterings and tags: saving, editing, carrying over, recommending, exchanging."""
