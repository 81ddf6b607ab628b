"""Searches: settings that are found by training."""
