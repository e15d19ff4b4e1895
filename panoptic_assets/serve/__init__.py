"""The web server of the review."""
