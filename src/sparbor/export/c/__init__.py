"""A deployed program as plain C for boards: :func:`sparbor.export.c.target.export_c`."""
