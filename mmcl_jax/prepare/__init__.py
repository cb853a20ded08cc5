"""From raw files to a store: reading the table and the images, dividing the rows, and the data card."""
