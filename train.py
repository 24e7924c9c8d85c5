"""Train a convolutional network: python train.py arch=wideresnet recipe=rsb_a2 datamodule=cifar10"""

from lineage.doors import command

if __name__ == "__main__":
    command("train")
