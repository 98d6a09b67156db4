"""Commands on the network itself: its layers, its diagram, its receptive fields."""
