"""Few-shot transfer: what latency tables of other devices say beforehand about the curves of a new one."""
