// Package chains finds an order in which the commands of an aggregate type can be tried out: it plays the
// examples that a type gives of its own commands against the type's own rules, and puts those that land into
// chains, each of which begins on a stream of its own.
//
//	for _, chain := range chains.Of(order.Type()) {
//		// add_line, assign_owner, change_line, submit, approve; then add_line, remove_line; …
//	}
//
// Whoever sends a chain's commands one after another, the first with the ticket genesis and each other one
// with the id of the one before it, sees all of them land. What lands nowhere stands in a chain alone, with
// the reason.
//
// The code of types is not trusted: how much of it is run is bounded, in steps and in time, and a panic is an
// answer like any other. So it costs little at a program's start, whatever types the program has.
package chains
