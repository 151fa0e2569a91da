"""The commands of `catalunya`, a few to a module. Each is loaded only when it is called, and loads what it needs then."""
