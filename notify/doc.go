// Package notify tells those who wait and watch what became of commands and streams.
//
// [Waiters] is the register behind every request that waits: a POST or GET with "Prefer: wait" for the
// outcome of one command, a long poll for one stream to change. Register, then send or read, then wait:
//
//	waiter, ok := waiters.Register(env.ID, env.Hash)
//	defer waiter.Close()
//	send(env)
//	outcome, conflict, err := waiter.Wait(ctx)
package notify
