"""Results in MLflow: runs, logged models, versions, and the choice among them. The only folder that knows MLflow."""
