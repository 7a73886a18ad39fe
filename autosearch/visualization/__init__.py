"""Charts: pure functions from a frame to a Plotly figure, for a notebook, a page or a report."""
