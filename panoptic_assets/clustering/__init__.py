"""Clusterings, of a corpus or of one cluster: scopes, methods, sweeps, and what they are worth."""
