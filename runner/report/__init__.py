"""From the records of runs to an answer: load → settings → statistics → sections → text, figures, page. No torch."""
