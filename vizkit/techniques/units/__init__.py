"""What one unit listens to, how it responds, and what it votes for."""
