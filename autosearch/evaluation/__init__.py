"""One trial, stage by stage: converting, quantizing, running and measuring what would ship."""
