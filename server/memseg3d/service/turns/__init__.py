"""Who computes when: users in turn, people who wait first, nobody starves, and no more at once than can be served."""
