"""Tables of rows that are looked up by their number, as embeddings are: stored like a dense matrix, row by row."""

from sparbor.packing.dense_weights import DenseWeights


class Table(DenseWeights):
    """A matrix of which each output is a row; it has no bias."""


pack_table = Table.pack
