"""Building blocks of HTML pages, for the data card and the pages of `reproduce`: elements, charts, style, wording."""
