"""How figures and charts look: colours, axes, matplotlib for files and plotly for the page."""
