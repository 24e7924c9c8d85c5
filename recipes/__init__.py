"""The procedures: transforms, mixing, loss, optimiser, schedule, averaging, and the LightningModule that applies them.

They know no architecture and no data set.
"""
