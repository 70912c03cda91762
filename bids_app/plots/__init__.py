"""Numbers to plots for pages and papers: SVG and PNG bytes, the same for the same numbers. Computes no statistics, reads no file."""
