"""A ProGAN trained on photographs of streets, and what it leaves out along its training.

`photographs.py` divides the photographs, `commands.sh` measures the segmenter, trains, compares and
inverts; `study.py` reads the records and writes `numbers.json`, `tables.md` and the charts of the
docs' page.
"""
