// Package bench measures the supervisor against its budgets, in one run on one machine, and prints
// them as a table. It asserts nothing: a machine with other work on it makes any limit fail. `make
// bench` runs it.
package bench
