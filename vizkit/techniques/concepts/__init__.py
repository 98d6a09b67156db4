"""What a layer has in common over many pictures: concepts that are named, concepts that are found, and atlases."""
