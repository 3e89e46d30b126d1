"""A queue of cases for people who annotate many: files, nodes, templates, one case open at a time."""
