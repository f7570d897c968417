"""One-pass evaluation: data sets, metrics, peers, runs and reports. Needs no torch."""
