"""What techniques of several kinds share."""
