"""One trial on the cluster, from its budget to a measured network: Ray Tune around Ray Train around the search."""
