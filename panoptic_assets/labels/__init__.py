"""Names of clusters: by a vocabulary's texts, or by a vision language model."""
