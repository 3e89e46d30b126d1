"""What a round has to compute for one object, before anything is computed."""
