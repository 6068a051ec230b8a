"""The papers' protocol: every method on random splits of a labelled data set, as one report."""
