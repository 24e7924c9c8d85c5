"""The keys of a recipe, in the groups of the paper's table: each with its type and range. rules.yaml says which keys go
together."""
