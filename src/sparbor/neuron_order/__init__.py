"""In which order the neurons of layers stand: where it is free to choose, which is best, and made real in a copy."""
