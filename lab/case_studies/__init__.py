"""Case studies: real generators beside real photographs.

In: the folder of real inputs (UNSEEN_REAL). Out: the numbers and charts of the docs' case studies.
`run.sh NAME` makes those of a study again; no photograph leaves its folder.
"""
