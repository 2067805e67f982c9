"""``report.html``: one page, readable without a network, that shows a run's metrics and where its synapses are.

It needs NumPy and safetensors alone, so that whoever has the wheel can make it of the ``metrics.json`` of a run.
"""
