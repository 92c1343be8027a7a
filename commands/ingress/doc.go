// Package ingress is the door for other services, which publish commands to a broker (DESIGN section 4): what
// commands/intake is for HTTP. It takes messages, holds what is in them against the same rules by the same code,
// and hands it over to the bus.
//
//	in, err := ingress.New(ingress.Config{Rules: rules, SendAll: sender.SendAll, Bury: …, Reply: …})
//	in.Start()
//	in.Take(deliveries) // as they come; each is settled in the end
//	err = in.Stop(ctx)
//
// What it needs of types, bus, broker and store is handed in; it knows none of them.
//
// # What becomes of a message
//
// It is settled, once each of its commands is accepted, that is durable on a lane, or refused. What is refused is
// buried: kept as a dead letter, with its own bytes. Of an array each refused command is a letter of its own, so
// that one who tries it again does not double the others; a body that cannot be read at all is one letter. Then the
// sender is told, when the message says where: a problem as over HTTP for each refusal, with the message's
// correlation id. An accepted command's outcome is not this package's to tell.
//
// Nothing is refused because commands cannot be taken at the moment: the bus or the store is away, the number of
// lanes is being changed, or a lane is full. Such a message stays in hand and is tried again with growing pauses,
// under the same ids. So it is with commands of which nobody knows whether they are durable.
//
// # Properties
//
// content_type is application/json, in UTF-8, or not given; content_encoding is not given, identity, or utf-8, which
// is no encoding but what some libraries write there. message_id is the id of a message's one command when that
// names none itself; it must be a UUID then. An array's message_id is its sender's own affair. A command without any
// id gets one here, a new one when the message is delivered again after a crash: whoever wants promise 3 gives ids.
// user_id, which the broker has checked, is the actor, whatever the body says. reply_to is any queue's name, or the
// broker's own name for direct replies, but none of this deployment's queues. The header traceparent is passed on.
//
// The order of checks: how often the message came back, reply_to, content type and encoding, length, the text,
// message_id, user_id, and then for each command what commands/vetting says.
//
// A message that came back very often ends the process that reads it, or it would not have come back. It is refused
// without being read, before the broker's own limit takes it away.
package ingress
