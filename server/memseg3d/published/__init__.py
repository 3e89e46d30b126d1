"""Published commands by their own names: one thin module each."""
