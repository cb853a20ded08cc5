"""What a study writes: summary statistics, files for other programs, and the page."""
