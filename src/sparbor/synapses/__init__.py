"""Training that computes with synapses alone."""
