"""Training of the embedded network: settings, losses, one step's work, the loop, its weights and their release."""
