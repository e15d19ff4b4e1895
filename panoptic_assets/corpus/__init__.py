"""Images: their files, manifest, versions, inventory and names."""
