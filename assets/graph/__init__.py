"""What exists: declarations, the graph that follows from them, and finding them. Knows no table, and nothing of what was made."""
