"""Speed and memory, side by side with peers. Not installed; run from a checkout: `python -m benchmarks.encode`."""
