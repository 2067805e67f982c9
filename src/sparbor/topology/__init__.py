"""Which synapses there are: pure functions of scores, steps and densities."""
