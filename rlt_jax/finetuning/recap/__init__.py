"""RECAP: the VLA conditioned on whether a chunk is better than expected.

After pi*0.6 (arXiv 2511.14759): a distributional value with Monte-Carlo returns
marks the frames whose advantage is large, and the VLA learns all frames with
that mark in its prompt. It then drives with the mark of the good ones.
"""
