"""A volume with its rounds and files outside of Slicer: what the command line and the Python API share."""
