"""Network families, built from widths; each is described op by op before any framework sees it."""
