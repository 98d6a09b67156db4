"""Class-activation maps: a layer's maps, weighted and added up."""
