"""What an evaluation found, as tables and pictures. Arrays and names; neither torch nor config."""
