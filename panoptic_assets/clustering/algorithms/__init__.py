"""The algorithms: arrays in, one cluster number for each image out."""
