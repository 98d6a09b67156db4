"""What a network's structure alone says."""
