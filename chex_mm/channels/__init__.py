"""What is coupled: which slices of which tensors make up one channel.

Found by letting labels flow through real passes; needs torch only.
"""
