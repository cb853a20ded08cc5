"""The report of `mmcl report`: a page that shows what runs learned, how well, and on what, a file per section."""
