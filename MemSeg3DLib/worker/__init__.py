"""Where segments are computed: which worker was chosen, its sessions, and the thread that owns its client."""
