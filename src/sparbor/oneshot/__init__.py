"""A trained model made sparse in one shot: layer by layer, from what its layers see of a few batches of inputs."""
