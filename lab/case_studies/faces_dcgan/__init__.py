"""A DCGAN of CelebA's faces: its distribution, single photographs, and whether they agree."""
