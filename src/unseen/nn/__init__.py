"""Network building blocks shared by segmenters, generators and inverters."""
