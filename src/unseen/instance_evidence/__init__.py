"""What reconstructions of photographs no longer have: pairs in, instances and verdicts out.

`measuring` segments both images of each pair, `judging` makes verdicts of what it measured, and
`record` is the file that holds them. The folder is not called `evidence`, because Python would put
it in the place of the function `unseen.evidence`.
"""
