"""A network around its weights: its graph, its sizes, what its units see, and its drawing."""
