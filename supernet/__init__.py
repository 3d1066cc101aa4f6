"""What is searched and how: spaces, operators, the supernet and its search. Torch only; knows no cluster."""
