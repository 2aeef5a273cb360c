"""What a generator leaves out of its distribution: images in, areas and a comparison out.

`segment` makes `areas`, kept by `areas_file`; `compare` makes a `comparison`, and `comparison_run`
does both and keeps `example_images`. `tally` reads the areas of the code of 2019.
"""
