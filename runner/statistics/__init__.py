"""Statistics as functions of arrays, for reports, searches and studies alike."""
