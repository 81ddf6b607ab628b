"""What ``build`` assembles into a run, each from a job's config: samples, network, objective, pace, mechanisms."""
