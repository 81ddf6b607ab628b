"""Published findings as named studies: each a sweep of ordinary runs, and a rule by which their records are judged."""
