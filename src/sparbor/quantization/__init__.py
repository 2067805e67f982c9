"""A program whose values were floats becomes one whose values are bytes, by what it computes for some inputs."""
