"""How long things take, against the published way of doing the same work: `python -m benchmarks.speed`."""
