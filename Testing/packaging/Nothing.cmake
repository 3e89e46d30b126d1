# In place of what Slicer includes to write an extension's configuration and package.
