"""Training of Mem3D's networks: interaction, memory, quality."""
