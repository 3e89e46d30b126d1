"""SAM 2's video predictor on volumes: the calls, states and results that scripts for the `sam2` package know."""
