// Package intake is the door: POST /v1/commands (DESIGN section 3). It reads one command or an array of
// them strictly, holds each against the type it is for, hands it over to the bus, and answers once the
// bus has confirmed it, or, for a client that would rather wait, once it has come to an outcome.
//
//	in, err := intake.New(intake.Config{Allows: …, Send: sender.Send, Register: …, Tell: …})
//	mux.Handle("POST /v1/commands", in)
//
// What it needs of types, bus and outcomes is handed in as functions; it knows none of them.
//
// # The order of checks
//
// The first that fails is told: memory for the request (429), query parameters (400), content type and
// encoding (415), length (413), the text (400, 413), headers against the body (400), the stream's type
// (404), the policy (403), the ticket (428). Of an array, what can be tied to one command refuses that
// one; its successors in the array are refused with it.
//
// # Overload
//
// A lane that is full, like a bus that is away, is answered 503 unavailable: it is not this client that
// sends too much, and nothing was accepted. 429 rate_limited says that the requests under way hold all
// the memory they may. Both, and 503 fate_unknown, carry Retry-After of one to three seconds, at random.
// A client that asks to wait when too many wait already is answered without waiting, and without
// Preference-Applied.
//
// # Preference and content
//
// wait=0 asks for the outcome if it is known by the time the command is confirmed. Accept is not looked
// at: turning away what has been accepted would only hide the outcome.
package intake
