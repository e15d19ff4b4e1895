"""What can be said, without Dagster and without the store: keys, requests, records, tags, texts."""
