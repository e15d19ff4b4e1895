"""Proving results: verification and audit bundles."""
