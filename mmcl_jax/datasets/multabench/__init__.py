"""MulTaBench (Arazi et al., NeurIPS 2026): tables whose columns include images, with fixed splits and a leaderboard."""
