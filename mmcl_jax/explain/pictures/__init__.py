"""Explanations of images and volumes: maps of their pixels, and where they are shown and written."""
