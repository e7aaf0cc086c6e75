"""The workloads, one a file."""
