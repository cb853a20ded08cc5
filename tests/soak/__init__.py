"""Kill every command at random moments, run it again, and compare what comes out with an unbroken run."""
