"""The common part of Scaler's worker adapters: provider interface, reconciler, conformance kit."""
