"""Where the sentences of reports, and phrases, point in images."""
