"""Mem3D's protocol: one slice is prompted, others follow from memory, and rounds correct the slice that is advised."""
