"""What a report becomes: text, a page, files for papers and viewers, and where they are written."""
