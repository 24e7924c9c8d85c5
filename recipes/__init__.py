"""The procedures: transforms, mixing, loss, optimiser, schedule, averaging, and the LightningModule that applies them.

They depend on no architecture and no data set.
"""
