"""The keys of a recipe, in the groups of the paper's table: each with its type, its range and what it goes with.

A group's bases are the groups whose keys its checks read too.
"""
