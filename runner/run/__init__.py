"""The life of a run: from a job to its records."""
