"""Where bytes live and how they move: settings, the lake, API clients, the warehouse. Knows nothing about assets."""
