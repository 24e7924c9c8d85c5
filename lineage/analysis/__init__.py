"""Tables and pictures of data and evaluations, made from arrays and names; imports neither torch nor the config."""
