"""StyleGAN's faces beside the photographs of FFHQ.

`commands.sh` makes areas and pictures, `study.py` reads them and the labels by eye (`audit.csv`,
`by_eye.csv`) and writes `numbers.json`, `tables.md` and the charts of the docs' page.
"""
