// Package admin is the operators' half of the API: what is parked, and what could not be carried out, to be looked
// at and decided on. It is served on a listener of its own, by processes that can send commands.
//
//	api, err := admin.New(admin.Config{Reader: store, Send: sender.Send, …})
//	api.Mount(mux)
//
//	GET  /admin/v1/dead?decision=&origin=&after=&limit=   dead letters; those that are open, unless asked otherwise
//	GET  /admin/v1/dead/{n}                               one, whole: the original, the cause, the decision
//	POST /admin/v1/dead/{n}/retry     {"by","why","ticket"?}  its command is sent again, as a new one
//	POST /admin/v1/dead/{n}/discard   {"by","why"}            nothing is to become of it
//	GET  /admin/v1/parked?stream=&after=&limit=           commands that wait
//	GET  /admin/v1/parked/{id}                            one, whole, and what waits on it
//	POST /admin/v1/parked/{id}/reject {"by","why"}            it is rejected, with all that waits on it
//
// Who decides says so, and why, as "by" and "why". Both are kept with the time: with the dead letter, or in the outcome
// of the command. A decision is made once; to make it again is told as it was made then. Sessions are secrets of
// their clients, and are not shown.
//
// # Retrying
//
// A command that ended as failed is remembered for ever, so what is sent again is a new one: of the same stream, type,
// data and actor, under an id that is derived from the letter. So a second try is a repeat, and changes nothing. Its
// ticket is that of the original, or the one that is asked for: the head of the stream as it is now ("head"), or an
// action's id. A refused message of another service is taken in as if it had just come; while it is refused its letter
// stays open.
//
// Nobody is asked for a password here: whoever reaches the listener may decide, as a rule from the same machine
// alone. A page of the web must not be able to, through the browser of somebody who may; see [API.guarded].
package admin
