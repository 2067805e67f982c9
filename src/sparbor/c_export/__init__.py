"""A deployed program as plain C for boards: :func:`sparbor.c_export.target.export_c`."""
