"""Order proven: an exact model of SQS FIFO, a contract held by model and brokers, and runs full of faults on top of it."""
