"""optbench: which training settings for this model on this data, and how sure can one be?"""

__version__ = "0.1.0"
