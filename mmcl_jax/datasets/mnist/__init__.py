"""MNIST, Fashion-MNIST and SVHN: the readers of their files, and the data sets that are made of them."""
