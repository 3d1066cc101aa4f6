"""Images from their sources to batches, and the storage that everything is kept in. Knows neither ray nor mlflow."""
