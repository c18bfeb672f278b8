"""The shipped experiments, one YAML file each, and the workloads that they run (experiments.py reads both)."""
