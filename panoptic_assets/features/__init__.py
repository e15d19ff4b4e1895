"""What is clustered: embeddings, their neighbours, projections, and imported vectors."""
