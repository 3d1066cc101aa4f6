"""How far tables can be believed: predicted against measured, target against target, quiet against loaded."""
