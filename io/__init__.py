"""Where bytes live and how they move: settings, the lake, API clients, the mock APIs. Knows nothing of assets."""
