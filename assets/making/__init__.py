"""How a table is made: `materialize` is the one path, with one maker for each layer."""
