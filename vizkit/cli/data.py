"""Commands on folders of images: what makes a unit fire, health, embeddings."""
