"""What the panels share, without Qt: scene <-> prompts <-> rounds <-> worker, and export."""
