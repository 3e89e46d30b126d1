"""What prompts say of the voxels about them and of tracked slices: figures, a small fitted network, and its word."""
