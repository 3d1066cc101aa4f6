"""Many machines, many trials: Ray, MLflow, data, reports and the command line."""
