"""What a click says of the voxels about it: figures of each, a small fitted network, and its word on every slice."""
