"""The parts of HTML pages that the data card and the pages of tables share: wording, charts, style."""
