"""Commands that optimise pictures: galleries, deep dreams of a photo, inversions."""
