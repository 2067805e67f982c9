"""``report.html``: one page, readable without a network, that shows a run's metrics and where its synapses are."""
