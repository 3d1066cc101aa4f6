"""What is searched and how: spaces, operators, the supernet and its search. Torch at the core; knows no cluster."""
