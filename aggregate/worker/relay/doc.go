// Package relay publishes what a worker committed to the topic exchanges that other services bind their queues
// to: every event that landed, and every outcome; and it answers those who asked for an answer, each in a queue of
// his own (DESIGN section 4). The log is the outbox: nothing is written twice, and how far each lane has been
// published and answered is a checkpoint in the store.
//
//	r, err := relay.New(relay.Config{Store: s, Publisher: exchanges, Source: "doorman/" + epoch})
//	w, err := worker.New(worker.Config{…, Acquired: r.Acquired, Observe: […, r.Observe]})
//	r.Start(); w.Start(ctx)
//	w.Shutdown(ctx); r.Shutdown(ctx) // in this order: what was committed is published first
//
// # Where outcomes come from
//
// A relay is told of each commit of its worker ([Relay.Observe]) and publishes it from memory: the happy path
// reads nothing and is one batch to the broker. What waits is bounded. When the broker is slow or away the
// newest commits are let go, and once its turn has come what was let go is read from the log, filtered by lane,
// until what is told joins on again:
//
//	told, in memory   ─────────────┐ let go            ┌──── told again
//	read from the log              └───────────────────┘
//
// There are two such sequences, one for the exchanges and one for answers, each with a place of its own in the log: a
// queue that is bound to the exchanges and holds up what is published there holds up no answer, and the other way
// round. The checkpoint is that of the one behind.
//
// When lanes are taken ([Relay.Acquired]) they begin so as well: they read the log from the lowest
// checkpoint of the lanes to the end, each lane from its own on, and only then go on with what is told.
//
// # At least once, first deliveries in order
//
// A lane's checkpoint says that every outcome of the lane at or below it has been published, that is, confirmed by
// the broker. It is saved some times a second under the lane's fence, so that nobody moves it who does not
// hold the lane, and never back. After a crash or a handover the next owner publishes from it on, so every
// committed event is published at least once; what the broker had confirmed and no checkpoint says yet is
// repeated.
//
// First deliveries of a stream's events come in order, whoever published them. A stream is always on one lane. Each
// relay that ever held the lane publishes the lane's outcomes one after another without leaving any out, from a
// checkpoint below which all had been published by others. So whenever one of them publishes an event, the one
// before it has been published already: by itself, or, when it is the first one, by whoever was confirmed before
// the checkpoint was saved. By induction what has been published of a stream is at any time its first n events,
// whatever a frozen relay does that wakes up after its lane was taken over: it can repeat what the new owner has
// published, or be ahead of it, which makes the new owner's publications the repeats, but neither leaves a gap.
// A batch that failed half-way is published again from its beginning, which are repeats as well. Nothing is
// published that did not commit: a relay is told after the commit, or reads the log.
//
// A queue that is bound later is owed what is published later, and gets all of it in that order. What had been
// published before may come to it as somebody's late repeat.
//
// # What need not travel
//
// A broker's cost is per message, also for one that nobody wants. So a batch to an exchange that nobody listened to
// last is begun by asking: the first message of each routing key is published by itself, in order, and the
// broker tells whether any queue is bound for it. When none is, the rest of the batch would reach nobody either:
// the whole batch counts as published at the moment of the asking, when all of it had been committed. Whoever
// binds a queue later is owed what is published later, and of what was committed after that, nothing
// is in the batch. From the first message that somebody wants on, everything is published in full, in order, so
// no queue sees a gap; and once in a while an exchange with an audience is asked anew. Asking costs as much as
// publishing: while nobody listens, what is committed within [Config.Gather] is asked for together, and comes that
// much later to a queue that has just been bound, or wants nothing but what is rare.
//
// This holds where messages are routed by their keys, as by topic exchanges and everything that is bound to them by
// key. An exchange that is bound to them and routes by headers may want one message of a key and not another:
// whoever has one sets [Config.Always].
//
// # Answers
//
// Whoever sent a command with a reply address is told its outcome there, at least once, with a message id that is the
// same each time he is told the same. Who sent it first is found in the outcome itself, which the log keeps. Who sent
// it again, or another command under its id, is a row that the worker wrote with the batch in which that was judged:
//
//	asked for          told
//	a settled command  its outcome, at once
//	a parked command   its outcome, when that comes by here; beyond 64 requesters rate_limited, at once
//	a taken id         id_conflict, at once
//
// The row is deleted once the answer is confirmed. Rows are read when lanes are taken, and after commits that
// brought some. As they survive whoever wrote them, so does the promise, over restarts and takeovers.
//
// An answer goes to one queue, which is somebody else's and may be full, gone or without a leader. Answers are
// therefore delivered one by one, each with its own receipt. A queue that is gone is passed over; one that does not
// take what it is sent is tried aside for 10 s, where nobody else waits for it, and then passed over at each
// refusal until it takes something. What is kept aside is bounded: beyond that, answers to such queues are passed over
// at once. While a queue is tried, the checkpoint waits for it, so what is published meanwhile may be repeated by
// whoever takes the lanes over then.
package relay
