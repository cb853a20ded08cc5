"""Views of volumes, and what they share: sampling on the accelerator, and intensities made alike."""
