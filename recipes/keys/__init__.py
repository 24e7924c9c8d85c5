"""The keys of a recipe, in the groups of the paper's table: each with its type, range and dependencies.

A group derives from the groups whose keys its checks also read.
"""
