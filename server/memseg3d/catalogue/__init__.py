"""Public models that can be fetched by name: what there is, under which licence, and how they come here."""
