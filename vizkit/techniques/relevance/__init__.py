"""What each operation hands back is shared out by a rule of its own: relevance, and contributions by references."""
