"""What is known of mmcv: standardised kernels, and operators of its own."""
