"""Engines: each takes frozen runs and yields rows."""
