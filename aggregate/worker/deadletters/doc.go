// Package deadletters tells other services what could not be carried out (DESIGN section 4): commands whose
// aggregate code broke, and messages that were refused. The store has every letter, with whether it was told; each
// process with a worker looks for those that were not, every second and whenever its own worker failed a command, and
// publishes them to the exchange <prefix>.dead.
//
//	f, err := deadletters.New(deadletters.Config{Store: s, Publisher: exchanges})
//	w, err := worker.New(worker.Config{…, Observe: […, f.Observe]})
//	f.Start()
//	f.Shutdown(ctx) // after the worker
//
// At least once: a process that dies between the broker's confirmation and the note of it in the store leaves the
// letter to be told again, and two that look at the same moment tell it twice. x-doorman-number says which letter it is.
//
// # What a message is like
//
// The body is the original: of a failed command its JSON as it was posted, of a refused message its own body, as much
// of it as was kept (1 MiB). Content type and encoding, message id and correlation id are the original's. A session
// is its client's secret: a failed command comes without it, and in a refused message "…" stands for it. Of a frame
// on a lane that could not be read, which is of no use to others, there is no body.
//
// The routing key is <origin>.<reason>, such as worker.failed or amqp.malformed. The headers say why:
//
//	x-doorman-number       the letter's number, by which doorman dead show, retry and discard know it
//	x-doorman-origin       worker: its code broke; amqp: the message was refused
//	x-doorman-reason       as the code of a problem: failed, malformed, …
//	x-doorman-detail       what was wrong, the first 1,024 bytes of it; all of it is in the store
//	x-doorman-at           when that was, RFC 3339 in UTC
//	x-doorman-size         bytes of the original, when the body is not all of it
//	x-doorman-stream       of a command: its stream
//	x-doorman-exchange     of a message: what it had been published to, and with which
//	x-doorman-routing-key  routing key
//	x-doorman-user-id      of a message: whose it is, as the broker has checked
//	traceparent            of a command: W3C trace context
//
// What is not there is left out. A queue of that name is bound to the exchange by us and keeps the newest 100,000
// letters, so that there is something to look at though nobody listened. A queue of somebody else's that
// refuses, or says nothing, is tried for 10 s; then the letter counts as told.
package deadletters
