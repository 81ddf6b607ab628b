"""Contests of optimizers at equal budgets: each is tuned by as many trials, and judged on seeds that tuned nothing."""
