"""The dashboard: a Streamlit application that reads the database and draws its charts."""
