"""One worker: its address, its client, why it cannot be reached, and how a local one is started."""
