"""A check of the segmenter by hand: which pictures a person labels, and what the labels change.

In goes the folder of a comparison, whose `sides` are opened again; out come the pictures of a
sample of every side, mixed (`drawing`), of which `pages.audit_page` makes the page; and later the
same comparison, corrected by the labels (`correcting`).
"""
