"""What bends a mask, or ends an object, after the network has spoken."""
