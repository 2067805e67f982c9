"""docs/results.md, its picture and README's table, made of committed rows."""
