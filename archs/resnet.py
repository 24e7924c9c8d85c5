"""Deep residual learning for image recognition (He, Zhang, Ren, Sun 2015), arXiv 1512.03385.

A block learns the difference from its input: y = relu(x + f(x)). ImageNet top-1 errors in the paper's Table 4 (10-crop):
ResNet-50 22.85, 101 21.75, 152 21.43; CIFAR-10 errors in Table 6: ResNet-20 8.75, 56 6.97, 110 6.43.

The same class, by its arguments, is the CIFAR ResNet of section 4.2, ResNeXt (arXiv 1611.05431: archs/resnext.py), the
wide bottleneck of arXiv 1605.07146 (`base_width=128`), and SE-ResNet (arXiv 1709.01507: `se`).
"""
