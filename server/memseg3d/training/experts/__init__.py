"""Training of the volumetric experts: DualClickMed's two recipes, with and without their mistakes."""
