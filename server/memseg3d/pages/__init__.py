"""What reports of cases and of evaluations share: pages of HTML that need nothing else, and outlines of masks."""
