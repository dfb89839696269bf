//! Tests: a model of known numbers, and the screens of it.
