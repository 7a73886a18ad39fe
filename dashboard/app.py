"""What Streamlit runs, anew for every change."""

from dashboard.navigation import run

run()
