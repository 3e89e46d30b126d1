"""Cases that strangers' files and broken workers were: each holds or fails by name. `python -m Testing.cases`."""
