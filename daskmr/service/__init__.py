"""The service: requests from a queue, run one beside the other, never lost and never doubled."""
