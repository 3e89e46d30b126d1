"""Training of SAM 2 and MemRefine on people's own sets: as MemRefine-MedSAM3D publishes it, and plain fine-tuning."""
