"""DVM-CAR: advertisements of cars with their specifications."""
