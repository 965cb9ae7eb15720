"""Few-shot transfer: what latency tables of other devices predict about the curves of a new one."""
