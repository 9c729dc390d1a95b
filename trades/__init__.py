"""Trade Portal, the one app.

A document is **published** through an outbox to an SQS FIFO queue, **received** by a worker, **parsed**, **recorded** in the
ordered history of its trade, and **shown**; what cannot be understood is **quarantined**, and what follows it in its group
waits behind it.

    publishing -> sqs -> consumer -> messages -> history -> web
                              |-> quarantine
"""
