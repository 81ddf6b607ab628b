"""Sweeps: plan (every job checked before one starts) and workers (the processes that train them)."""
