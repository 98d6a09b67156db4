"""The comparison study of models, backends and weights."""
