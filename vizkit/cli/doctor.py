"""Whether the gradients of this machine's backends are right."""
