"""Dreams: pictures made by raising an objective, and what they are made of."""
