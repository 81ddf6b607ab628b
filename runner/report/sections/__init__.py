"""A question and its answer each: functions from a workload to a ``Section`` of text, plots and tables."""
