// Package commands is Doorman's vocabulary: what a client sends, what comes of it, and the rules that
// every other package shares for naming streams, comparing payloads and choosing lanes.
//
// A client sends a [Command] to one [Stream] with a ticket: the id of the action it believes came last.
// Once accepted it travels as an [Envelope], which carries what must survive parking and crashes, and
// ends in exactly one [Outcome]: landed, with the [Event] values it caused, or rejected with a [Reason].
//
//	cmd, err := commands.Decode([]byte(`{"stream":"order/42","type":"add_line",
//	    "ticket":"genesis","data":{"sku":"A1","qty":2}}`))
//
// The package imports the standard library only and does no I/O.
package commands
